"""``ModelReloadOperator`` against replicas on loopback: prepare, commit, switch, prove, or go back."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.phases import Phase, phase_of
from model_release_airflow.context import Stores
from model_release_airflow.operators.model_reload import ModelReloadOperator
from tests.airflow.contexts import RELEASE_ID, context, fire
from tests.airflow.replica_server import ReplicaServer


def passed(stores: Stores, run_id: str = "new") -> None:
    """Let the gate have passed ``run_id`` at the registry's generation."""
    stores.ledger.append(
        LedgerEntry(
            at=utc_now(),
            event=Event.GATE_DECIDED,
            release_id=RELEASE_ID,
            by="test",
            run_id=run_id,
            generation=stores.registry.read().generation,
            details={"verdict": "pass"},
        )
    )


def reload(**changes: Any) -> ModelReloadOperator:
    usual: dict[str, Any] = {"poll_seconds": 0.05, "timeout_seconds": 1.0, "put_back_seconds": 1.0}
    return ModelReloadOperator(task_id="model_reload", run_id="new", **{**usual, **changes})


def run(operator: ModelReloadOperator) -> dict[str, Any]:
    """Run the task to its end, with the triggerer's part if it defers."""
    try:
        return operator.execute(context(operator))
    except TaskDeferred as deferred:
        return operator.execute_complete(context(operator), fire(deferred.trigger))


def events(stores: Stores) -> list[Event]:
    return [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]


def current(stores: Stores) -> str | None:
    registry = stores.registry.read()
    return registry.current.run_id if registry.current else None


def test_a_release_reaches_every_replica_and_is_proved(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """All prepare before anything is committed; the receipt and the ledger say what was done; the token is used."""
    passed(stores)
    receipt = run(reload())
    assert receipt == {
        "run_id": "new",
        "mode": "primary",
        "generation": 2,
        "changed": True,
        "previous_run_id": "old",
        "workers": 2,
        "missing": [],
    }
    for server in fleet:
        assert [request.prepare for request, _ in server.posts] == [True, False]
        assert {authorization for _, authorization in server.posts} == {"Bearer reload-token-for-tests"}
        assert server.replica.served.generation == 2
    assert events(stores)[-2:] == [Event.COMMITTED, Event.RELEASED]


def test_a_trial_carries_its_share_and_lease(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """``mode: shadow, rollout: 0.1`` is what the replicas are told and report; users keep the current run."""
    passed(stores)
    receipt = run(reload(mode="shadow", rollout="0.1", lease_seconds="60"))
    assert receipt["mode"] == "shadow"
    request = fleet[0].posts[-1][0]
    assert (request.mode, request.rollout, request.lease_seconds) == ("shadow", 0.1, 60)
    assert current(stores) == "old"
    candidate = fleet[0].replica.served.candidate
    assert candidate is not None
    assert (candidate.run_id, candidate.rollout) == ("new", 0.1)
    assert events(stores)[-1] is Event.TRIAL_STARTED


def test_a_retry_finds_what_was_done(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The same task again commits nothing, adds nothing to the ledger, and succeeds."""
    passed(stores)
    run(reload())
    before = stores.ledger.read()
    receipt = run(reload())
    assert (receipt["generation"], receipt["changed"]) == (2, False)
    assert stores.ledger.read() == before
    assert len(fleet) == 2


def test_one_replica_that_refuses_stops_it_before_anything_changed(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """PREPARE fails at once, without a retry; no commit, no switch."""
    passed(stores)
    fleet[1].replica.refuses.add("new")
    with pytest.raises(AirflowFailException, match="fails its hashes"):
        run(reload())
    assert stores.registry.read().generation == 1
    assert all(request.prepare for server in fleet for request, _ in server.posts)
    assert Event.COMMITTED not in events(stores)


def test_one_replica_that_is_down_is_an_outage(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """It is worth a retry, and nothing changed."""
    passed(stores)
    fleet[1].status = 503
    with pytest.raises(AirflowException, match="503") as caught:
        run(reload())
    assert not isinstance(caught.value, AirflowFailException)
    assert stores.registry.read().generation == 1


def test_replicas_that_never_agree_are_taken_back(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """In time everybody serves the run from before, one generation later, and the task fails for good."""
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=0.3)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context(operator))
    event = fire(caught.value.trigger)
    assert event["status"] == "timed_out"
    posts = len(fleet[0].posts)
    with pytest.raises(AirflowFailException, match="generation 1, desired is 2"):
        operator.execute_complete(context(operator), event)
    assert len(fleet[0].posts) == posts + 1
    assert (current(stores), stores.registry.read().generation) == ("old", 3)
    assert events(stores)[-1] is Event.PUT_BACK  # the deaf replica could not prove it


def test_going_back_is_proved_where_replicas_follow(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Once the fleet agrees on the way back, the ledger says so."""
    passed(stores)
    operator = reload()
    fleet[1].deaf = True
    with pytest.raises(TaskDeferred):
        operator.execute(context(operator))
    fleet[1].deaf = False
    commit = {"generation": 2, "changed": True, "previous_run_id": "old"}
    timed_out = {"status": "timed_out", "commit": commit, "disagreements": []}
    with pytest.raises(AirflowFailException, match="served again by every replica"):
        operator.execute_complete(context(operator), timed_out)
    assert events(stores)[-2:] == [Event.PUT_BACK, Event.ROLLED_BACK]


def test_replicas_that_come_late_are_waited_for(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The trigger only reads; when all agree, the task ends well."""
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=30.0)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context(operator))
    posts = [len(server.posts) for server in fleet]
    fleet[1].replica.look()
    event = fire(caught.value.trigger)
    assert [len(server.posts) for server in fleet] == posts
    assert operator.execute_complete(context(operator), event)["workers"] == 2


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"status": "agreed"}, {"status": "Agreed"}])
def test_an_unknown_event_is_a_failure(stores: Stores, fleet: list[ReplicaServer], event: Any) -> None:
    """Nothing that the triggerer is not known to say is taken for success."""
    operator = reload()
    with pytest.raises(AirflowFailException, match="unknown event"):
        operator.execute_complete(context(operator), event)
    assert len(fleet) == len(stores.registry.read().runs)


def test_without_the_gate_nothing_is_released(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A release needs the gate's PASS; skipping the gate task does not help."""
    with pytest.raises(AirflowFailException, match="run the quality gate first"):
        run(reload())
    assert stores.registry.read().generation == 1
    assert len(fleet) == 2


def test_a_zombie_is_refused(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A task whose gate decided before somebody else changed the registry can't bring its run in."""
    passed(stores)
    stores.registry.update(lambda state: transitions.set_latch(state, reason="r", by="b", at=utc_now()))
    stores.registry.update(transitions.clear_latch)
    with pytest.raises(AirflowFailException, match="somebody else changed it"):
        run(reload())
    assert current(stores) == "old"
    assert len(fleet) == 2


def test_a_cleared_task_can_not_release_again_what_was_put_back(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """After the way back the old decision counts no more: the gate has to speak again."""
    passed(stores)
    test_replicas_that_never_agree_are_taken_back(stores, fleet)
    for server in fleet:
        server.deaf = False
        server.replica.look()
    with pytest.raises(AirflowFailException, match="expected 1"):
        run(reload())
    passed(stores)
    assert run(reload())["generation"] == 4


def test_prepared_only_changes_nothing(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A dry run lets every replica load the run, and is skipped."""
    passed(stores)
    with pytest.raises(AirflowSkipException):
        run(reload(prepare_only="True"))
    assert [server.replica.prepared for server in fleet] == [["new"], ["new"]]
    assert stores.registry.read().generation == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "primary", "rollout": "0.1"}, "rollout goes with"),
        ({"mode": "shadow"}, "needs a rollout"),
        ({"mode": "shadow", "rollout": "1.5"}, "rollout is 1.5, expected a number up to 1"),
        ({"mode": "blue"}, "mode is 'blue'"),
        ({"cause": "whim"}, "cause is 'whim'"),
        ({"rollout": "much"}, "not a number"),
        ({"prepare_only": "perhaps"}, "neither true nor false"),
        ({"run_id": "../../etc"}, "not valid"),
    ],
)
def test_contradictions_fail_before_anything_is_asked(
    stores: Stores, fleet: list[ReplicaServer], changes: dict[str, Any], said: str
) -> None:
    """Bad values fail at once, say what is wrong, and reach no registry."""
    passed(stores)
    operator = reload(**{key: value for key, value in changes.items() if key != "run_id"})
    operator.run_id = changes.get("run_id", operator.run_id)
    with pytest.raises(AirflowFailException, match=said):
        run(operator)
    assert stores.registry.read().generation == 1
    assert len(fleet) == 2


def test_a_rollback_needs_no_gate_and_ignores_the_latch(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Cause ``rollback`` goes back although automatic releases are stopped."""
    passed(stores)
    run(reload())
    stores.registry.update(lambda state: transitions.set_latch(state, reason="r", by="b", at=utc_now()))
    operator = reload(cause="rollback", release_id="rollback-1", reason="complaints")
    operator.run_id = "old"
    assert run(operator)["run_id"] == "old"
    assert {server.replica.served.current.run_id for server in fleet if server.replica.served.current} == {"old"}
    assert phase_of(stores.ledger.read(), "rollback-1") is Phase.PROVED
    last = stores.ledger.read()[-1]
    assert (last.event, last.reason) == (Event.ROLLED_BACK, "complaints")


def test_a_step_is_passed_over_where_it_can_find_nothing_out(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The run is current already, or none is: no trial, and no failure."""
    passed(stores, "old")
    trial: dict[str, Any] = {"mode": "canary", "rollout": 0.1, "step": True}
    with pytest.raises(AirflowSkipException, match="current already"):
        run(ModelReloadOperator(task_id="canary_10", run_id="old", **trial))
    stores.registry.update(lambda registry: transitions.withdraw(registry, at=utc_now()))
    with pytest.raises(AirflowSkipException, match="no run is current yet"):
        run(reload(**trial))
    assert [server.posts for server in fleet] == [[], []]


def test_a_step_that_is_not_asked_for_is_passed_over(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Values are compared as text: a template gives text."""
    passed(stores)
    with pytest.raises(AirflowSkipException, match="only if shadow were primary"):
        run(reload(only_if=[("False", False), ("shadow", "primary")]))
    assert [server.posts for server in fleet] == [[], []]
    assert run(reload(only_if=[("False", False), ("primary", "primary")]))["changed"]


def test_the_next_step_follows_on_the_pass_of_the_trial(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Shadow, its PASS, canary, its PASS, primary: five generations, and no word too few."""
    passed(stores)
    run(reload(mode="shadow", rollout=0.1, step=True))
    with pytest.raises(AirflowFailException, match="has not judged the trial under way"):
        run(reload(mode="canary", rollout=0.05, step=True))
    judged(stores)
    run(reload(mode="canary", rollout=0.05, step=True))
    assert run(reload(mode="canary", rollout=0.05, step=True))["changed"] is False  # a retry
    with pytest.raises(AirflowFailException, match=r"has not judged the trial under way, canary at 0\.05"):
        run(reload())  # marked as success by hand, the gate never spoke of this step
    judged(stores)
    with pytest.raises(AirflowFailException, match="does not take it back to an earlier step"):
        run(reload(mode="shadow", rollout=0.1, step=True))  # a zombie
    assert run(reload())["generation"] == 4
    assert [server.replica.served.generation for server in fleet] == [4, 4]


def judged(stores: Stores) -> None:
    """Let the gate have passed the trial under way."""
    registry = stores.registry.read()
    stores.ledger.append(
        LedgerEntry(
            at=utc_now(),
            event=Event.GATE_DECIDED,
            release_id=RELEASE_ID,
            by="test",
            run_id="new",
            generation=registry.generation,
            details={"verdict": "pass", "stage": "online"},
        )
    )
