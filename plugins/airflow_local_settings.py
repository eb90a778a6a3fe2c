"""Airflow's local settings, found here unless ``$AIRFLOW_HOME/config`` has a file of this name: import the hook there."""

from __future__ import annotations

from model_release_airflow.trigger_policy import task_instance_mutation_hook

__all__ = ["task_instance_mutation_hook"]
