# mypy: disable-error-code="untyped-decorator,attr-defined,misc"
"""``recommendation_pipeline`` as an Airflow 2 may have it: small, and it leaves what the release in Airflow 3 leaves.

Copied into the DAG folder of a real Airflow 2, whose environment has nothing of this project.  ``control.json`` in
``AUTOMATE_HOME`` says what is to go wrong, ``pass.json`` and ``fail.json`` what the gate decides.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from airflow.decorators import dag, task
from airflow.exceptions import AirflowFailException

HOME = Path(os.environ["AUTOMATE_HOME"])


def control(key: str) -> Any:
    return json.loads((HOME / "control.json").read_text()).get(key)


@task
def train() -> str:
    """Take a while, or fail."""
    time.sleep(3)
    if control("fails"):
        raise AirflowFailException("train was made to fail")
    return "run-b"


@task
def quality_gate(trained: str, **context: Any) -> dict[str, Any]:
    """Pass, or reject and leave the decision."""
    decision: dict[str, Any] = json.loads((HOME / f"{control('gate')}.json").read_text()) | {"run_id": trained}
    if control("gate") == "fail":
        context["ti"].xcom_push("rejection", decision)
        raise AirflowFailException(decision["summary"])
    return decision


@task
def model_reload(decision: dict[str, Any]) -> dict[str, Any]:
    """Let the replica commit and switch, as a maintainer's curl does."""
    request = urllib.request.Request(  # noqa: S310  (loopback)
        f"{os.environ['MODEL_RELOAD_URL']}/models/reload",
        data=json.dumps({"run_id": decision["run_id"], "release_id": "airflow-2"}).encode(),
        headers={"Authorization": f"Bearer {os.environ['MODEL_RELOAD_TOKEN']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        receipt = json.load(answer)
    return {key: receipt[key] for key in ("run_id", "mode", "generation")}


@task(trigger_rule="all_done")
def close_release(**context: Any) -> dict[str, str]:
    """Say how it ended."""
    states = {name: context["dag_run"].get_task_instance(name).state for name in ("quality_gate", "model_reload")}
    phase = "verified" if states["model_reload"] == "success" else "failed"
    return {"release_id": "airflow-2", "phase": "rejected" if states["quality_gate"] == "failed" else phase}


@dag(schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), max_active_runs=1)
def recommendation_pipeline() -> None:
    reloaded = model_reload(quality_gate(train()))
    reloaded >> close_release().as_teardown()


recommendation_pipeline()
