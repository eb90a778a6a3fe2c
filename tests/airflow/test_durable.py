"""Deadlines and budgets count from the first try: a killed worker gains no time, a clear begins anew."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType, TaskDeferred
from airflow.sdk.execution_time.comms import ErrorResponse

from model_release_airflow.context import Stores
from model_release_airflow.durable import kept_time
from model_release_airflow.sensors.quality_gate import QualityGateSensor
from tests.airflow.contexts import context, fire
from tests.airflow.replica_server import ReplicaServer
from tests.airflow.test_model_reload import current, passed, reload
from tests.airflow.trials import write_policy

ABOUT = {"generation": 2}


class Store:
    """A task state store in memory; ``broken``: it does not answer."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    def get(self, key: str, default: Any = None) -> Any:
        self._answer()
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: dt.timedelta | None = None) -> None:
        self._answer()
        assert retention is not None
        assert retention > dt.timedelta(days=7), "a budget may be that long"
        self.values[key] = value

    def _answer(self) -> None:
        if self.broken:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))


def having(store: Store | None, *, max_tries: int = 3) -> dict[str, Any]:
    ti = SimpleNamespace(max_tries=max_tries)
    return {"ti": ti} if store is None else {"ti": ti, "task_state_store": store}


def test_a_retry_finds_the_time_of_the_first_try() -> None:
    """The same task instance, about the same thing."""
    store = Store()
    assert kept_time(having(store), "until", ABOUT, 100.0) == 100.0
    assert kept_time(having(store), "until", ABOUT, 200.0) == 100.0
    assert kept_time(having(store), "other", ABOUT, 300.0) == 300.0


def test_a_clear_and_another_generation_begin_anew() -> None:
    """Only a clear raises ``max_tries``; what was kept about something else does not count, and is replaced."""
    store = Store()
    kept_time(having(store), "until", ABOUT, 100.0)
    assert kept_time(having(store, max_tries=7), "until", ABOUT, 200.0) == 200.0
    assert kept_time(having(store, max_tries=7), "until", {"generation": 3}, 300.0) == 300.0
    assert kept_time(having(store, max_tries=7), "until", {"generation": 3}, 400.0) == 300.0


@pytest.mark.parametrize("value", [None, 5, "x", [], {"about": {}}, {"at": 1.0}, {"about": ABOUT, "at": "soon"}])
def test_what_is_no_time_of_ours_is_replaced(value: Any) -> None:
    """Somebody may write to the store through Airflow's REST API."""
    store = Store()
    store.values["until"] = value
    assert kept_time(having(store), "until", ABOUT, 100.0) == 100.0
    assert kept_time(having(store), "until", ABOUT, 200.0) == 100.0


def test_without_a_store_each_try_has_its_own_time() -> None:
    """None there, as in older contexts, or it does not answer: the task goes on all the same."""
    assert kept_time(having(None), "until", ABOUT, 100.0) == 100.0
    store = Store()
    store.broken = True
    assert kept_time(having(store), "until", ABOUT, 200.0) == 200.0


def waiting(operator: Any, store: Store, **changes: Any) -> Any:
    """Run the task until it waits; return its trigger."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context(operator, **having(store, **changes)))
    return caught.value.trigger


def test_a_reload_that_is_tried_again_has_no_more_time(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Killed while it waits: the next try waits until the first one's deadline, and goes back then."""
    passed(stores)
    fleet[1].deaf = True
    store = Store()
    first = waiting(reload(timeout_seconds=30.0), store)
    assert waiting(reload(timeout_seconds=30.0), store).deadline == first.deadline
    assert waiting(reload(timeout_seconds=30.0), store, max_tries=7).deadline > first.deadline
    store.values["prove_until"]["at"] = time.time() - 1.0
    operator = reload(timeout_seconds=30.0)
    event = fire(waiting(operator, store, max_tries=7))
    assert event["status"] == "timed_out"
    with pytest.raises(AirflowFailException, match="Put back"):
        operator.execute_complete(context(operator), event)
    assert current(stores) == "old"


def test_a_late_retry_still_succeeds_where_all_agree(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The deadline ends a wait; it undoes nothing that is proved at once."""
    passed(stores)
    operator, store = reload(), Store()
    found = context(operator, **having(store))
    for _ in range(2):
        try:
            receipt = operator.execute(found)
        except TaskDeferred as deferred:  # a busy machine: not at once
            receipt = operator.execute_complete(found, fire(deferred.trigger))
        assert receipt["workers"] == len(fleet)
        store.values["prove_until"]["at"] = 0.0


def test_a_gate_that_is_tried_again_has_no_more_budget(stores: Stores, tmp_path: Path) -> None:
    """Its budgets count from the first try, as long as the registry is where it was; a clear begins anew."""
    file = write_policy(tmp_path / "policy.yaml", error_minutes=5.0)

    def gate() -> QualityGateSensor:
        return QualityGateSensor(task_id="quality_gate", run_id="new", policy=str(file))

    store = Store()
    first = waiting(gate(), store)
    assert waiting(gate(), store).started_at == first.started_at
    stores.registry.update(lambda state: state.model_copy(update={"generation": state.generation + 1}))
    second = waiting(gate(), store)
    assert second.started_at > first.started_at
    assert waiting(gate(), store, max_tries=7).started_at > second.started_at
