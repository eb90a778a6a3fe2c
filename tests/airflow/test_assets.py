"""Runs and releases as events of assets: once each, and never for a trial."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.context import OutletEventAccessors

from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import set_latch
from model_release_airflow.assets import RELEASE, RUN, announcing
from model_release_airflow.context import Stores
from model_release_airflow.operators.run_register import RunRegisterOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from scripts.check_dags import read_dags
from tests.airflow.contexts import RELEASE_ID, context
from tests.airflow.replica_server import ReplicaServer
from tests.airflow.test_model_reload import passed, reload, run
from tests.runs import publish_run


class Airflow:
    """Keeps events as Airflow does: those of a task that succeeded."""

    def __init__(self) -> None:
        self.events: list[SimpleNamespace] = []
        self.fails = False

    def execute(self, operator: Any) -> Any:
        """Run one try of a task; its events are kept if it succeeds."""
        outlets = OutletEventAccessors()
        result = operator.execute(context(operator, outlet_events=outlets, inlet_events={RUN: self, RELEASE: self}))
        for accessor in outlets.values():
            for event in accessor.asset_alias_events:
                name = event.dest_asset_key.name
                self.events.append(SimpleNamespace(extra=event.extra, name=name, at=utc_now(), queued=False))
        return result

    def after(self, since: str) -> list[SimpleNamespace]:
        """Answer as the API server does, which fails over events of consumers that wait in the queue."""
        found = [event for event in self.events if event.at >= dt.datetime.fromisoformat(since)]
        if self.fails or any(event.queued for event in found):
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        return found


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def verify(**changes: Any) -> RunVerifyOperator:
    return RunVerifyOperator(
        task_id="verify", put_back_seconds=1.0, **{"run_id": "new", **announcing(RELEASE), **changes}
    )


def test_a_verified_release_is_announced_once(stores: Stores, fleet: list[ReplicaServer], airflow: Airflow) -> None:
    """Cleared and run again it is the same release; the extra says all that a consumer needs."""
    passed(stores)
    run(reload())
    airflow.execute(verify())
    airflow.execute(verify())
    (event,) = airflow.events
    assert event.name == "recommendation_release"
    assert event.extra == {
        "run_id": "new",
        "release_id": RELEASE_ID,
        "generation": 2,
        "mode": "primary",
        "decision": {"verdict": "pass", "policy_sha256": None},
        "previous_run_id": "old",
        "rollback": False,
    }
    assert len(fleet) == 2


def test_a_task_that_dies_before_it_succeeds_announces_when_it_does(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow
) -> None:
    """The ledger knows it as verified already: what counts is what Airflow keeps, else the event would be lost."""
    passed(stores)
    run(reload())
    operator = verify()
    operator.execute(context(operator, outlet_events=OutletEventAccessors(), inlet_events={RELEASE: airflow}))  # killed
    assert Event.VERIFIED in [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]
    airflow.execute(verify())
    assert len(airflow.events) == 1
    assert fleet[0].reads


def test_a_trial_and_a_failed_verification_announce_nothing(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow
) -> None:
    passed(stores)
    run(reload(mode="shadow", rollout=0.1))
    airflow.execute(verify(mode="shadow"))
    assert airflow.events == []
    passed(stores)
    run(reload())
    fleet[1].answers_from = "old"
    with pytest.raises(AirflowFailException):
        airflow.execute(verify())
    assert airflow.events == []


def test_a_later_release_of_the_same_run_is_another_event(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow
) -> None:
    passed(stores)
    run(reload())
    airflow.execute(verify())
    back = reload(release_id="back", cause="rollback", reason="why")
    back.run_id = "old"
    run(back)
    airflow.execute(verify(run_id="old", release_id="back"))
    assert [(event.extra["run_id"], event.extra["rollback"]) for event in airflow.events] == [
        ("new", False),
        ("old", True),
    ]
    assert fleet[0].reads


def test_a_run_is_announced_when_it_is_new(stores: Stores, airflow: Airflow) -> None:
    publish_run(stores.paths, "third", seed=3)
    for _ in range(2):
        airflow.execute(RunRegisterOperator(task_id="register", run_id="third", **announcing(RUN)))
    (event,) = airflow.events
    assert (event.name, event.extra["run_id"], event.extra["decision"]) == ("recommendation_run", "third", None)
    assert event.extra["manifest_sha256"] == stores.runs.manifest_sha256("third")


def test_a_run_that_another_release_registered_is_no_news(stores: Stores, airflow: Airflow) -> None:
    """Released again by its id, it is the run that everybody heard of."""
    airflow.execute(RunRegisterOperator(task_id="register", run_id="new", **announcing(RUN)))
    assert airflow.events == []
    assert stores.registry.read().registered("new") is not None


def test_a_question_that_fails_neither_fails_the_task_nor_keeps_it_secret(stores: Stores, airflow: Airflow) -> None:
    airflow.fails = True
    publish_run(stores.paths, "third", seed=3)
    airflow.execute(RunRegisterOperator(task_id="register", run_id="third", **announcing(RUN)))
    assert len(airflow.events) == 1


def test_consumers_of_earlier_releases_that_still_wait_are_no_trouble(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow
) -> None:
    """Airflow can't be asked about their events; so only what came since the commit is asked about."""
    airflow.events.append(SimpleNamespace(extra={}, name=RELEASE.name, at=utc_now(), queued=True))
    passed(stores)
    run(reload())
    for _ in range(2):
        airflow.execute(verify())
    assert len(airflow.events) == 2
    assert fleet[0].reads


def test_a_latch_does_not_make_it_another_release(stores: Stores, fleet: list[ReplicaServer], airflow: Airflow) -> None:
    """It raises the registry's generation; a cleared verification says the one at which the run became current."""
    passed(stores)
    run(reload())
    airflow.execute(verify())
    stores.registry.update(lambda state: set_latch(state, reason="why", by="me", at=utc_now()))
    for server in fleet:
        server.replica.look()
    airflow.execute(verify())
    assert [event.extra["generation"] for event in airflow.events] == [2]


def test_operators_without_the_outlet_announce_nothing(stores: Stores, airflow: Airflow) -> None:
    """A team with two models names its own assets, or none."""
    publish_run(stores.paths, "third", seed=3)
    airflow.execute(RunRegisterOperator(task_id="register", run_id="third"))
    airflow.execute(RunRegisterOperator(task_id="register", run_id="third", **announcing(RELEASE)))
    assert airflow.events == []
    assert isinstance(stores.ledger.read()[-1], LedgerEntry)


def test_the_dags_announce_what_they_register_and_verify() -> None:
    dags = read_dags().dags
    found = {
        (dag_id, task.task_id): outlet.name
        for dag_id, dag in dags.items()
        for task in dag.tasks
        for outlet in task.outlets
        if isinstance(outlet, AssetAlias)
    }
    assert found == {
        ("recommendation_pipeline", "register"): "recommendation_run_events",
        ("recommendation_pipeline", "verify"): "recommendation_release_events",
        ("recommendation_rollback", "verify"): "recommendation_release_events",
    }
