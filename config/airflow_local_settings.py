"""Airflow's local settings: copy this to ``$AIRFLOW_HOME/config``; if there is one already, import the hook in it."""

from __future__ import annotations

from model_release_airflow.trigger_policy import task_instance_mutation_hook

__all__ = ["task_instance_mutation_hook"]
