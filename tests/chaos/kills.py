"""Airflow's local settings of the chaos stack: what a task does to itself, once, if a file says so.

Copied to ``$AIRFLOW_HOME/config/airflow_local_settings.py``.  The file is ``kills/<DAG>:<DAG run>:<task>.<what>``: ``before`` and ``after``
kill the task's process before or after its work; ``meet`` lets it wait right before its work until the harness has done its fault.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from model_release_airflow.trigger_policy import task_instance_mutation_hook

PATIENCE_SECONDS = 20.0

__all__ = ["task_instance_mutation_hook", "task_policy"]


def task_policy(task: Any) -> None:
    """Hang the hooks on every task, as the DAG file is read."""
    task._pre_execute_hook = _before
    task._post_execute_hook = _after


def _before(context: Any) -> None:
    _meet(context)
    _die(context, "before")


def _after(context: Any, _result: Any = None) -> None:
    _die(context, "after")


def _meet(context: Any) -> None:
    """Say that this task is about to work, and wait until what is to happen to it has begun."""
    mark = _mark(context, "meet")
    if mark.exists():
        here = mark.rename(mark.with_suffix(".here"))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while here.exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def _die(context: Any, when: str) -> None:
    mark = _mark(context, when)
    if mark.exists():
        mark.rename(mark.with_suffix(".done"))
        os.kill(os.getpid(), signal.SIGKILL)


def _mark(context: Any, what: str) -> Path:
    ti = context["ti"]
    return Path(os.environ["MODEL_RELEASE_HOME"]) / "kills" / f"{ti.dag_id}:{ti.run_id}:{ti.task_id}.{what}"
