"""``StateReconcileOperator`` against replicas on loopback, and what people are told of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.unsent import count_unsent
from model_release_airflow.context import Stores
from model_release_airflow.notifications.state import WeComStateNotifier
from model_release_airflow.operators.state_reconcile import StateReconcileOperator, record_state_failure
from tests.airflow.contexts import context, fire
from tests.airflow.replica_server import ReplicaServer
from tests.fakes_wecom import FakeWeCom, wecom

DAG_ID = "recommendation_pipeline"  # of the contexts that tests make


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWeCom]:
    with wecom() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", fake.connection(mentioned=["zhangsan"]))
        yield fake


class Job:
    """DAG runs one after the other, each with an id of its own."""

    def __init__(self) -> None:
        self.runs = 0
        self.deferred = False

    def context(self, operator: Any) -> dict[str, Any]:
        return context(operator, run_id=f"scheduled__{self.runs}")

    def operator(self, **changes: Any) -> StateReconcileOperator:
        usual: dict[str, Any] = {"poll_seconds": 0.05, "timeout_seconds": 0.5, "settle_seconds": 60.0}
        return StateReconcileOperator(task_id="reconcile_state", **{**usual, **changes})

    def run(self, **changes: Any) -> dict[str, Any]:
        """Run the task to its end, with the triggerer's part if it defers, and the callback of the DAG."""
        self.runs += 1
        operator = self.operator(**changes)
        self.deferred = False
        try:
            result = operator.execute(self.context(operator))
        except TaskDeferred as deferred:
            self.deferred = True
            again = self.operator(**changes)  # nothing of the first one is left
            event = fire(deferred.trigger)
            result = again.execute_complete(self.context(again), event, **json.loads(json.dumps(deferred.kwargs)))
        WeComStateNotifier().notify(self.context(operator))
        return result


@pytest.fixture
def job(stores: Stores) -> Job:
    """What is current was proved."""
    for event in (Event.COMMITTED, Event.RELEASED):
        stores.ledger.append(LedgerEntry(at=utc_now(), event=event, release_id="before", by="test", generation=1))
    return Job()


def move_on(stores: Stores, *, proved: bool = True) -> int:
    """Release ``new`` with nobody told: every replica lags."""
    at = utc_now()
    after = stores.registry.update(
        lambda state: transitions.promote(state, run_id="new", release_id="r2", at=at, cause="person")
    )
    for event in (Event.COMMITTED, *([Event.RELEASED] if proved else [])):
        stores.ledger.append(
            LedgerEntry(at=at, event=event, release_id="r2", by="test", generation=after.generation, mode="primary")
        )
    return after.generation


def events(stores: Stores) -> list[str]:
    mine = {Event.DEVIATED, Event.HEALED, Event.RECOVERED}
    return [entry.event.value for entry in stores.ledger.read() if entry.event in mine]


def posts(fleet: list[ReplicaServer]) -> list[int]:
    return [len(server.posts) for server in fleet]


def test_a_fleet_that_agrees_is_left_alone(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    before = stores.registry.read(), stores.ledger.read()
    assert job.run() == {"outcome": "agrees", "generation": 1, "healed": [], "facts": []}
    assert posts(fleet) == [0, 0]
    assert (stores.registry.read(), stores.ledger.read(), robot.texts) == (*before, [])


def test_a_lagging_replica_follows_and_nothing_is_committed(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """It alone is told, with the generation and nothing else; the ledger knows, nobody is bothered."""
    generation = move_on(stores)
    fleet[0].replica.look()
    before = stores.registry.read()
    result = job.run()
    assert result == {"outcome": "healed", "generation": generation, "healed": [fleet[1].url], "facts": []}
    assert posts(fleet) == [0, 1]
    ((request, authorization),) = fleet[1].posts
    assert request.model_dump(exclude_defaults=True) == {"generation": generation}
    assert authorization == "Bearer reload-token-for-tests"
    assert stores.registry.read() == before
    assert fleet[1].replica.served == before
    assert events(stores) == ["healed"]
    assert "is at generation 1, desired is 2" in stores.ledger.read()[-1].reason
    assert robot.texts == []
    assert not job.deferred


def test_what_following_does_not_heal_is_told_once_and_its_end_once(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """A replica that acknowledges and keeps serving what it served: tried each time, told the first time."""
    move_on(stores)
    fleet[0].replica.look()
    fleet[1].deaf = True
    for number in range(1, 4):
        result = job.run()
        assert result["outcome"] == "deviates"
        assert job.deferred
        assert result["facts"] == [f"{fleet[1].url}: worker 1 is at generation 1, desired is 2"]
        assert posts(fleet) == [0, number]
    markdown, mention = robot.received
    assert f"{fleet[1].url}: worker 1 is at generation 1, desired is 2" in markdown["markdown"]["content"]
    assert "http://airflow.example:8080/dags/recommendation_pipeline/runs/scheduled__1" in robot.texts[0]
    assert mention["text"]["mentioned_list"] == ["zhangsan"]

    fleet[1].deaf = False
    assert job.run()["outcome"] == "healed"
    assert job.run()["outcome"] == "agrees"
    assert events(stores) == ["deviated", "healed", "recovered"]
    assert len(robot.received) == 3
    assert robot.texts[-1].startswith("**✅ Everywhere what is desired again**")


def test_a_replica_that_does_not_answer_is_reported_and_not_called_healed(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """Nobody posts to it; the other one that lags is healed all the same."""
    generation = move_on(stores)
    fleet[1].status = 500
    result = job.run()
    assert result["outcome"] == "deviates"
    assert result["healed"] == [fleet[0].url]
    assert fleet[0].replica.served.generation == generation
    assert posts(fleet) == [1, 0]
    assert events(stores) == ["healed", "deviated"]
    assert fleet[1].url in robot.texts[0]
    assert fleet[0].url not in robot.texts[0]


def test_a_blip_is_no_news(stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom) -> None:
    """Somebody restarts a replica: it is back within the wait."""
    fleet[1].status = 503
    operator = job.operator(timeout_seconds=20.0)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(job.context(operator))
    fleet[1].status = None
    event = fire(deferred.value.trigger)
    assert event["status"] == "agreed"
    assert operator.execute_complete(job.context(operator), event)["outcome"] == "agrees"
    assert (events(stores), robot.texts) == ([], [])


def test_a_busy_moment_after_the_wait_is_no_news(
    stores: Stores, fleet: list[ReplicaServer], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They agreed in the triggerer; the worker's first look then finds one that does not answer, the second does."""
    operator = job.operator()
    commit = {"generation": 1, "changed": False, "previous_run_id": None}
    answers = iter([500])
    honest = fleet[1].get

    def once(path: str) -> Any:
        fleet[1].status = next(answers, None)
        return honest(path)

    monkeypatch.setattr(fleet[0], "get", lambda path, honest=fleet[0].get: (once(path), honest(path))[1])
    done = operator.execute_complete(job.context(operator), {"status": "agreed", "commit": commit})
    assert done["outcome"] == "agrees"
    assert events(stores) == []


def test_a_release_under_way_is_not_disturbed(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """Between its commit and its proof replicas may lag: nobody is told anything, replicas and people alike."""
    generation = move_on(stores, proved=False)
    assert job.run() == {"outcome": "under_way", "generation": generation, "healed": [], "facts": []}
    assert posts(fleet) == [0, 0]
    assert (events(stores), robot.texts) == ([], [])
    assert job.run(settle_seconds=0.0)["outcome"] == "healed"  # long after: whoever made it is dead


def test_a_generation_that_moved_since_is_left_to_the_next_run(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """While it waited somebody released: what it saw is past; the stale call is refused by the fence."""
    move_on(stores)
    fleet[1].deaf = True
    operator = job.operator()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(job.context(operator))
    stores.registry.update(lambda state: transitions.set_latch(state, reason="why", by="me", at=utc_now()))
    event = fire(deferred.value.trigger)
    done = operator.execute_complete(job.context(operator), event, **(deferred.value.kwargs or {}))
    assert (done["outcome"], done["generation"]) == ("moved", 3)
    assert (events(stores), robot.texts) == ([], [])


def test_a_generation_that_moves_while_replicas_are_told_is_not_waited_for(
    stores: Stores, fleet: list[ReplicaServer], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_on(stores)
    honest = fleet[1].post

    def post(path: str, body: bytes, authorization: str) -> Any:
        stores.registry.update(lambda state: transitions.set_latch(state, reason="why", by="me", at=utc_now()))
        return honest(path, body, authorization)

    monkeypatch.setattr(fleet[1], "post", post)
    assert job.run()["outcome"] == "moved"
    assert not job.deferred
    assert events(stores) == []


def test_a_registry_older_than_what_is_served_is_told_and_nobody_is_moved_back(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    """Restored from a backup: replicas keep what they serve, and no post tries to change that."""
    ahead = stores.registry.read().model_copy(update={"generation": 9})
    for server in fleet:
        server.replica.served = ahead
    assert job.run()["outcome"] == "deviates"
    assert posts(fleet) == [0, 0]
    assert "is at generation 9, desired is 1" in robot.texts[0]


def test_a_lapsed_candidate_is_the_watchers_until_it_stays(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom
) -> None:
    at = utc_now()
    stores.registry.update(
        lambda state: transitions.start_trial(
            state, run_id="new", mode="shadow", rollout=0.1, release_id="r3", at=at, lease_until=at
        )
    )
    stores.ledger.append(LedgerEntry(at=at, event=Event.COMMITTED, release_id="r3", by="test", generation=2))
    stores.ledger.append(LedgerEntry(at=at, event=Event.TRIAL_STARTED, release_id="r3", by="test", generation=2))
    before = stores.registry.read()
    for server in fleet:  # they have dropped it by themselves
        server.replica.served = before.model_copy(update={"candidate": None})
    assert job.run()["outcome"] == "agrees"
    assert job.run(settle_seconds=0.0)["outcome"] == "deviates"
    assert "no replica's watcher has ended the trial" in robot.texts[0]
    assert posts(fleet) == [0, 0]
    assert stores.registry.read() == before
    stores.registry.update(transitions.end_trial)
    for server in fleet:
        server.replica.look()
    assert job.run()["outcome"] == "agrees"
    assert "the trial has ended" in robot.texts[-1]


def test_a_reconciliation_that_fails_is_told_once(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged registry fails every run; people hear of it once, and when it works again."""
    good = stores.paths.registry.read_bytes()
    stores.paths.registry.write_bytes(b"{")
    for _ in range(3):
        operator = job.operator()
        job.runs += 1
        with pytest.raises(AirflowFailException, match="StateCorruptError") as caught:
            operator.execute(job.context(operator))
        record_state_failure({**job.context(operator), "exception": caught.value})
        WeComStateNotifier().notify(job.context(operator))
    assert events(stores) == ["deviated"]
    assert len([text for text in robot.texts if text.startswith("**")]) == 1
    assert "reconcile_state failed: StateCorruptError" in robot.texts[0]
    stores.paths.registry.write_bytes(good)
    assert job.run()["outcome"] == "agrees"
    assert f"{DAG_ID}: it works again" in robot.texts[-1]
    assert posts(fleet) == [0, 0]

    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", '{"conn_type": "recommendation_api", "host": "no.invalid"}')
    monkeypatch.setattr("socket.getaddrinfo", _no_name)
    extra = {"conn_type": "recommendation_api", "host": "no.invalid", "extra": {"every_address": True}}
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps(extra))
    operator = job.operator()
    with pytest.raises(AirflowException, match="does not resolve"):  # an outage: tried again
        operator.execute(job.context(operator))


def _no_name(*_: Any, **__: Any) -> Any:
    raise OSError("no such name")


def test_a_robot_that_takes_nothing_fails_nobody_and_is_not_asked_again(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom, caplog: pytest.LogCaptureFixture
) -> None:
    robot.faults = [93000]
    fleet[1].status = 500
    with caplog.at_level(logging.INFO):
        job.run()
        job.run()
    assert robot.attempts == 1
    reasons = [entry.reason for entry in stores.ledger.read() if entry.event is Event.NOTIFIED]
    assert any("not sent" in reason and "93000" in reason for reason in reasons)
    assert count_unsent(stores.ledger.read()) == 1
    assert not any(robot.key in reason for reason in reasons)


def test_two_callbacks_at_the_same_time_tell_once(
    stores: Stores, fleet: list[ReplicaServer], job: Job, robot: FakeWeCom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that runs twice: both have read the ledger before either says that it tells."""
    fleet[1].status = 500
    operator = job.operator()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(job.context(operator))
    operator.execute_complete(job.context(operator), fire(deferred.value.trigger))
    seen = stores.ledger.read()
    ledger = type(stores.ledger)
    read = ledger.read

    def late(_: Any) -> list[LedgerEntry]:
        monkeypatch.setattr(ledger, "read", read)
        WeComStateNotifier().notify(job.context(operator))  # the other one comes in between
        return seen

    monkeypatch.setattr(ledger, "read", late)
    WeComStateNotifier().notify(job.context(operator))
    assert len([text for text in robot.texts if text.startswith("**")]) == 1
