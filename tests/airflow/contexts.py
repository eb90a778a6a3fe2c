"""The part of Airflow's context that tasks of a release look at."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from airflow.triggers.base import BaseTrigger

from model_release.contract import utc_now

DAG_ID, DAG_RUN_ID = "recommendation_pipeline", "manual__1"
RELEASE_ID = f"{DAG_ID}:{DAG_RUN_ID}"


def context(task: Any = None, *, states: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the context of one task of one DAG run."""

    def get_task_states(*, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert dag_id == DAG_ID
        return {run_ids[0]: states or {}}

    pushed: dict[str, Any] = {}
    found = {
        "dag": SimpleNamespace(dag_id=DAG_ID),
        "run_id": DAG_RUN_ID,
        "dag_run": SimpleNamespace(
            run_id=DAG_RUN_ID, triggering_user_name="admin", start_date=None, run_after=utc_now()
        ),
        "task": task,
        "ti": SimpleNamespace(
            get_task_states=get_task_states, xcom_push=lambda key, value: pushed.update({key: value})
        ),
        "pushed": pushed,  # not Airflow's: what the task left as XComs
        "params": {},
    }
    return {**found, **changes}


def fire(trigger: BaseTrigger) -> dict[str, Any]:
    """Do the triggerer's part: make the trigger anew from what it says of itself, and wait for its event."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))

    async def first() -> dict[str, Any]:
        async for event in again.run():
            payload: dict[str, Any] = json.loads(json.dumps(event.payload))
            return payload
        raise AssertionError("it ended without an event")

    return asyncio.run(first())
