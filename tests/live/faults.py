"""Airflow's local settings of the test stack: those of the project, and make one task fail, before or after it did its work.

Copied to ``$AIRFLOW_HOME/config/airflow_local_settings.py``; the DAG files stay as they are.
"""

from __future__ import annotations

import json
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
    _fail(context, "before")


def _after(context: Any, _result: Any = None) -> None:
    _fail(context, "after")


def _fail(context: Any, when: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    file = Path(os.environ["MODEL_RELEASE_HOME"]) / "fault.json"
    if not file.exists():
        return
    fault = json.loads(file.read_text())
    if (fault["task"], fault["when"]) != (context["ti"].task_id, when):
        return
    if fault["how"] == "kill":
        file.unlink()  # once: the retry goes through
        os.kill(os.getpid(), signal.SIGKILL)
    raise AirflowFailException(f"{fault['task']} was made to fail {when} its work")
