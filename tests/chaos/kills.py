"""Airflow's local settings of the chaos stack: kill a task's process before or after its work, once, if a file says so.

Copied to ``$AIRFLOW_HOME/config/airflow_local_settings.py``; the file is ``kills/<task>.<when>``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from model_release_airflow.trigger_policy import task_instance_mutation_hook

__all__ = ["task_instance_mutation_hook", "task_policy"]


def task_policy(task: Any) -> None:
    """Hang the hooks on every task, as the DAG file is read."""
    task._pre_execute_hook = _before
    task._post_execute_hook = _after


def _before(context: Any) -> None:
    _die(context, "before")


def _after(context: Any, _result: Any = None) -> None:
    _die(context, "after")


def _die(context: Any, when: str) -> None:
    mark = Path(os.environ["MODEL_RELEASE_HOME"]) / "kills" / f"{context['ti'].task_id}.{when}"
    if mark.exists():
        mark.rename(mark.with_name(mark.name + ".done"))
        os.kill(os.getpid(), signal.SIGKILL)
