"""Reloads of real replicas, each a process of its own: one is dead, one hangs, one joins late."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.operators import model_reload
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.operators.state_reconcile import StateReconcileOperator
from tests.airflow.contexts import context, fire
from tests.airflow.test_fleet_changes import go_on
from tests.airflow.test_model_reload import run
from tests.api.home import Home
from tests.api.replica import TOKEN, Replica, wait_until

SLEEPS = {"RECOMMENDATION_API_WATCH_SECONDS": "3600"}  # it moves only when it is told to


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(tmp_path))
    made = Home(tmp_path)
    made.register("run-b")
    return made


@pytest.fixture
def replicas(home: Home) -> Iterator[list[Replica]]:
    """Three that serve ``run-a``; their watchers are asleep."""
    started = [Replica(home, name=f"replica-{number}", settings=SLEEPS) for number in (1, 2, 3)]
    try:
        for replica in started:
            replica.start_ready()
        yield started
    finally:
        for replica in started:
            replica.close()


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """Two of three have to be there."""
    file = tmp_path / "policy.yaml"
    check = {"name": "floor", "kind": "absolute", "metric": "ndcg_at_10", "at_least": 0.01, "minimum_users": 2}
    file.write_text(json.dumps({"schema_version": 1, "name": "test", "quorum": "60%", "checks": [check]}))
    return str(file)


def listed(monkeypatch: pytest.MonkeyPatch, replicas: list[Replica]) -> None:
    extra = {"replicas": [replica.url for replica in replicas]}
    entry = {"conn_type": "recommendation_api", "password": TOKEN, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps(entry))


def reload(policy: str, **changes: Any) -> ModelReloadOperator:
    usual = {"cause": "person", "poll_seconds": 0.1, "timeout_seconds": 60.0, **changes}
    return ModelReloadOperator(task_id="model_reload", run_id="run-b", policy=policy, **usual)


def test_a_dead_replica_comes_back_on_what_is_desired(
    home: Home, replicas: list[Replica], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the release: the others get the run, and it starts on it, although nobody told it."""
    listed(monkeypatch, replicas)
    dead, url = replicas[2], replicas[2].url
    dead.kill()
    assert run(reload(policy))["missing"] == [url]
    assert all(replica.serves("run-b") for replica in replicas[:2])
    verify = RunVerifyOperator(task_id="verify", run_id="run-b", policy=policy)
    assert verify.execute(context(verify))["missing"] == [url]
    dead.start_ready()
    assert dead.serves("run-b")
    assert dead.worker.generation == home.registry.read().generation


def test_a_replica_that_hung_is_healed_when_it_goes_on(
    replicas: list[Replica], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped like a black hole: it counts as missing, and serves the old run until ``reconcile_state`` tells it."""
    listed(monkeypatch, replicas)
    waits = RecommendationApiHook.__init__.__kwdefaults__
    assert waits is not None
    monkeypatch.setitem(waits, "timeout_seconds", 1.0)
    monkeypatch.setitem(waits, "reload_timeout_seconds", 5.0)
    hung = replicas[2]
    assert hung.process is not None
    os.kill(hung.process.pid, signal.SIGSTOP)
    try:
        receipt = run(reload(policy))
    finally:
        os.kill(hung.process.pid, signal.SIGCONT)
    assert receipt["missing"] == [hung.url]
    wait_until("it answers again", lambda: hung.ready)
    assert hung.serves("run-a")
    heal = StateReconcileOperator(task_id="reconcile_state", poll_seconds=0.1)
    assert heal.execute(context(heal))["outcome"] == "healed"
    assert hung.serves("run-b")


def test_a_replica_that_joins_late_counts_and_is_told(
    replicas: list[Replica], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came up on the run from before and stands on the list since: it gets the new one before the release is proved."""
    listed(monkeypatch, replicas[:2])
    operator, late = reload(policy), replicas[2]
    with monkeypatch.context() as patched:
        patched.setattr(model_reload, "agree_at_once", lambda *_, **__: False)  # as if one were slow
        with pytest.raises(TaskDeferred) as caught:
            operator.execute(context(operator))
    listed(monkeypatch, replicas)
    event = fire(caught.value.trigger)
    assert (event["status"], event["lagging"]) == ("lagging", [late.url])
    assert late.serves("run-a")
    assert go_on(operator, event)["workers"] == 3
    assert late.serves("run-b")
