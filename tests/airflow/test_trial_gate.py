"""The gate during a trial: the trigger looks and renews the lease, the worker decides."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from model_release import registry as transitions
from model_release.adapters.decision_picture import picture_path
from model_release.adapters.decisions import read_decision
from model_release.adapters.kept_evidence import read_evidence
from model_release.contract import utc_now
from model_release.errors import GateMissingError
from model_release.gate_words import passed_at
from model_release.ledger import Event, of_release
from model_release.messages import compose
from model_release.registry import Registry
from model_release.verdict import Verdict
from model_release_airflow import look as looking
from model_release_airflow.context import Stores
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.sensors.quality_gate import QualityGateSensor
from model_release_airflow.triggers import trial as trial_module
from model_release_airflow.triggers.trial import TrialTrigger
from tests.airflow.contexts import RELEASE_ID, context, fire
from tests.airflow.replica_server import ReplicaServer
from tests.airflow.test_model_reload import passed
from tests.airflow.trials import Answers, lease_until, start_trial, write_policy

UNDECIDED = 10.0  # requests: too few


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with budgets of six seconds."""
    return write_policy(tmp_path / "policy.yaml")


@pytest.fixture
def trial(stores: Stores, fleet: list[ReplicaServer]) -> Stores:
    """``new`` is on trial, the replicas follow."""
    start_trial(stores)
    for server in fleet:
        server.replica.look()
    return stores


def gate(policy: Path, **changes: Any) -> QualityGateSensor:
    usual: dict[str, Any] = {"run_id": "new", "stage": "online", "policy": str(policy), "poke_interval": 0.1}
    return QualityGateSensor(task_id="online_gate", **{**usual, **changes})


def deferred(sensor: QualityGateSensor) -> TrialTrigger:
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context(sensor))
    assert isinstance(caught.value.trigger, TrialTrigger)
    assert caught.value.method_name == "execute_complete"
    return caught.value.trigger


def complete(sensor: QualityGateSensor, event: dict[str, Any]) -> dict[str, Any]:
    return sensor.execute_complete(context(sensor), event)


def events(stores: Stores) -> list[Event]:
    return [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]


def later(seconds: float, action: Any) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_a_healthy_candidate_passes_at_once(trial: Stores, answers: Answers, policy: Path) -> None:
    """The decision says that it was made on trial, and a promotion builds on its generation."""
    decision = gate(policy).execute(context())
    assert (decision["verdict"], decision["stage"], decision["generation"]) == ("pass", "online", 2)
    words = [entry for entry in trial.ledger.read() if entry.event is Event.GATE_DECIDED]
    assert [entry.details.get("stage") for entry in words] == ["offline", "online"]
    assert passed_at(trial.ledger.read(), release_id=RELEASE_ID, run_id="new") == 2
    assert answers.looks == 1
    kept = read_evidence(trial.paths, RELEASE_ID, "online")
    assert kept is not None
    assert kept.online is not None
    assert not picture_path(trial.paths, RELEASE_ID).exists()  # nobody waits for it: it is drawn at the close


def test_a_trial_that_passed_has_time_until_the_next_task(
    stores: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """The trigger that renewed the lease is gone, and the next task may have to wait for its turn, or be tried again."""
    start_trial(stores, lease_seconds=10.0)
    for server in fleet:
        server.replica.look()
    before = lease_until(stores)
    gate(policy, lease_seconds=120).execute(context())
    assert lease_until(stores) - before >= dt.timedelta(seconds=100)
    assert answers.looks == 1


def test_a_trial_passes_even_if_its_lease_is_not_renewed(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """It has what is left of the lease; whether that is enough, the next commit finds out."""
    before = lease_until(trial)
    for server in fleet:
        server.status = 503
    assert gate(policy, lease_seconds=3600).execute(context())["verdict"] == "pass"
    assert (lease_until(trial), answers.looks) == (before, 1)


def test_it_waits_for_requests_without_a_slot(trial: Stores, answers: Answers, policy: Path) -> None:
    """The trigger carries what was judged; nothing stands in the ledger, and the state of the wait on disk."""
    answers.requests = UNDECIDED
    before = time.time()
    trigger = deferred(gate(policy, lease_seconds="60"))
    assert (trigger.generation, trigger.lease_seconds, trigger.policy) == (2, 60, str(policy))
    assert trigger.poll_seconds == 1.0  # the policy's step: there is nothing new more often
    assert trigger.lease_until == lease_until(trial).timestamp()
    assert before + 6.0 <= trigger.deadline < before + 8.0
    assert Event.REJECTED not in events(trial)
    kept = read_decision(trial.paths, RELEASE_ID)
    assert kept is not None
    assert (kept.stage, kept.verdict) == ("online", Verdict.INCONCLUSIVE)


def test_a_clear_failure_ends_the_wait_early_and_the_trial(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """Seen by the trigger, judged again and rejected by the worker, and the end of the release withdraws the run."""
    answers.requests = UNDECIDED
    sensor = gate(write_policy(policy, inconclusive_minutes=60))
    trigger = deferred(sensor)
    timer = later(0.5, lambda: vars(answers).update(requests=1000.0, errors=0.5))
    started = time.time()
    event = fire(trigger)
    timer.join()
    assert event["status"] == "decided"
    assert "FAIL" in event["reason"]
    assert time.time() - started < 60.0  # of the hour that the policy allows
    assert Event.REJECTED not in events(trial)  # a trigger never decides
    with pytest.raises(GateRejectedError, match="errors") as caught:
        complete(sensor, event)
    record_failure(context(sensor, exception=caught.value))
    assert events(trial)[-3:] == [Event.TRIAL_STARTED, Event.GATE_DECIDED, Event.REJECTED]
    with pytest.raises(GateMissingError, match="on trial is 'fail'"):
        passed_at(trial.ledger.read(), release_id=RELEASE_ID, run_id="new")

    close = ReleaseCloseOperator(task_id="close_release", put_back_seconds=1.0)
    close.execute(context(close, states={"online_gate": "failed"}))
    assert trial.registry.read().candidate is None
    assert all(server.replica.served.candidate is None for server in fleet)
    assert Event.TRIAL_ENDED in events(trial)


@pytest.mark.parametrize("errors", [0.0, 0.5])
def test_the_documented_chain_promotes_a_good_run_and_withdraws_a_bad_one(
    stores: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path, errors: float
) -> None:
    """Trial, verify, gate, promotion, verify, close, by one release: the steps fit each other and their ledger."""

    def step(operator: Any) -> dict[str, Any]:
        found: dict[str, Any] = operator.execute(context(operator))
        return found

    passed(stores)
    usual: dict[str, Any] = {"run_id": "new", "put_back_seconds": 1.0}
    reload: dict[str, Any] = {**usual, "poll_seconds": 0.05, "timeout_seconds": 1.0}
    step(ModelReloadOperator(task_id="start_trial", mode="canary", rollout=0.1, lease_seconds=900, **reload))
    step(RunVerifyOperator(task_id="verify_trial", mode="canary", **usual))
    answers.errors = errors
    good = errors == 0.0
    if good:
        step(gate(policy))
        step(ModelReloadOperator(task_id="model_reload", **reload))
        step(RunVerifyOperator(task_id="verify", **usual))
    else:
        with pytest.raises(GateRejectedError):
            step(gate(policy))
        with pytest.raises(AirflowFailException, match="on trial is 'fail'"):
            step(ModelReloadOperator(task_id="model_reload", **reload))
    step(ReleaseCloseOperator(task_id="close_release", put_back_seconds=1.0))
    registry = stores.registry.read()
    assert registry.candidate is None
    assert registry.current is not None
    assert registry.current.run_id == ("new" if good else "old")
    assert {server.replica.served.generation for server in fleet} == {registry.generation}
    told = compose(
        stores.ledger.read(),
        read_decision(stores.paths, RELEASE_ID),
        release_id=RELEASE_ID,
        failed=not good,
        link="http://airflow.example",
    )
    assert told.title == ("✅ Released: new" if good else "⛔ Rejected on trial: new")
    assert ("errors" in told.markdown) is not good


def test_a_rejected_trial_may_be_tried_again_and_not_promoted(
    stores: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """Passed anew before a trial: a new trial stands on that word, a promotion still needs one on trial."""
    start_trial(stores)
    answers.errors = 0.5
    with pytest.raises(GateRejectedError):
        gate(policy).execute(context())
    close = ReleaseCloseOperator(task_id="close_release", put_back_seconds=1.0)
    close.execute(context(close))
    passed(stores)
    usual: dict[str, Any] = {"run_id": "new", "poll_seconds": 0.05, "timeout_seconds": 1.0, "put_back_seconds": 1.0}
    promote = ModelReloadOperator(task_id="model_reload", **usual)
    with pytest.raises(AirflowFailException, match="on trial is 'fail'"):
        promote.execute(context(promote))
    again = ModelReloadOperator(task_id="start_trial", mode="canary", rollout=0.2, lease_seconds=900, **usual)
    assert again.execute(context(again))["mode"] == "canary"
    assert {server.replica.served.candidate.run_id for server in fleet if server.replica.served.candidate} == {"new"}


def test_a_rejection_on_trial_may_skip(trial: Stores, answers: Answers, policy: Path) -> None:
    """The ledger says rejected all the same, so that the end of the release withdraws the run."""
    answers.errors = 0.5
    with pytest.raises(AirflowSkipException):
        gate(policy, on_reject="skip").execute(context())
    assert events(trial)[-1] is Event.REJECTED


def test_the_worker_does_not_take_the_triggers_word(trial: Stores, answers: Answers, policy: Path) -> None:
    """An event that says decided, and evidence that is undecided: it waits on, with the same start."""
    answers.requests = UNDECIDED
    sensor = gate(policy)
    trigger = deferred(sensor)
    event = {"status": "decided", "started_at": trigger.started_at, "generation": 2, "reason": "PASS: all is well"}
    with pytest.raises(TaskDeferred) as again:
        complete(sensor, event)
    assert again.value.trigger.started_at == trigger.started_at
    assert Event.REJECTED not in events(trial)


def test_an_outage_of_prometheus_neither_ends_nor_passes_the_trial(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """The lease is renewed meanwhile; when the budget is spent, the run is rejected."""
    before = lease_until(trial)
    answers.up = False
    sensor = gate(policy, lease_seconds=1200)  # 600 of 1200 seconds are left: due at once
    event = fire(deferred(sensor))
    assert (event["status"], answers.up) == ("decided", False)
    assert trial.registry.read().candidate is not None
    assert lease_until(trial) > before
    leases = [lease for server in fleet for lease in server.leases]
    assert {(lease.release_id, lease.generation, lease.lease_seconds) for lease in leases} == {(RELEASE_ID, 2, 1200)}
    assert len(leases) == 1  # renewed once: it has more than two thirds left since
    with pytest.raises(GateRejectedError, match="Prometheus does not answer"):
        complete(sensor, event)


def test_an_outage_shorter_than_its_budget_is_forgotten(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """Prometheus comes back: the wait ends with what it then says."""
    answers.up = False
    sensor = gate(policy)
    trigger = deferred(sensor)
    timer = later(0.5, lambda: vars(answers).update(up=True))
    event = fire(trigger)
    timer.join()
    assert complete(sensor, event)["verdict"] == "pass"
    assert trial.registry.read().candidate is not None
    assert len(fleet) == 2


def test_a_trigger_that_was_restarted_and_one_that_runs_twice_say_the_same(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """One is killed after some looks; two of its successors then run at once."""
    answers.requests = UNDECIDED
    trigger = deferred(gate(write_policy(policy, inconclusive_minutes=0.15), lease_seconds=1200))

    def again() -> TrialTrigger:
        path, arguments = trigger.serialize()
        module, _, name = path.rpartition(".")
        made: TrialTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
        return made

    async def first(one: TrialTrigger) -> dict[str, Any]:
        async for event in one.run():
            return dict(event.payload)
        raise AssertionError("it ended without an event")

    async def story() -> list[dict[str, Any]]:
        killed = asyncio.create_task(first(again()))
        await asyncio.sleep(1.5)
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        return list(await asyncio.gather(first(again()), first(again())))

    one, other = asyncio.run(story())
    assert one == other
    assert one["status"] == "decided"
    assert time.time() - trigger.started_at < 9.0 + 5.0  # the budget counts from the gate's start, not the trigger's
    assert trial.registry.read().generation == 2
    leases = [lease for server in fleet for lease in server.leases]
    assert 1 <= len(leases) <= 3  # one each at most: repeated, not piled up


@pytest.mark.parametrize(("lease", "status"), [(60, "moved"), (1200, "refused")])
def test_a_registry_that_moves_on_is_looked_at_by_the_worker(
    trial: Stores, answers: Answers, policy: Path, lease: int, status: str
) -> None:
    """Another generation, the same trial, noticed by a look or by the API's 409: the worker judges it and waits on.

    The new trigger has the new generation as its fence, and its renewal is taken.
    """
    answers.requests = UNDECIDED
    sensor = gate(policy, lease_seconds=lease)
    trigger = deferred(sensor)
    trial.registry.update(lambda state: transitions.set_latch(state, reason="r", by="b", at=utc_now()))
    trial.registry.update(transitions.clear_latch)
    event = fire(trigger)
    assert event["status"] == status
    with pytest.raises(TaskDeferred) as again:
        complete(sensor, event)
    assert again.value.trigger.generation == 4
    assert fire(again.value.trigger)["status"] == "decided"


@pytest.mark.parametrize(("lease", "status"), [(60, "decided"), (1200, "refused")])
@pytest.mark.parametrize("how", ["ended", "superseded", "latched"])
def test_a_trial_that_is_over_ends_the_wait(
    trial: Stores, answers: Answers, policy: Path, how: str, lease: int, status: str
) -> None:
    """Ended by its lease, replaced by another release's, or all releases stopped: rejected, nothing is renewed."""
    answers.requests = UNDECIDED
    sensor = gate(policy, lease_seconds=lease)
    trigger = deferred(sensor)
    trial.registry.update(transitions.end_trial)
    if how == "superseded":
        start_trial(trial, release_id="another")
    if how == "latched":
        trial.registry.update(lambda state: transitions.set_latch(state, reason="stop", by="b", at=utc_now()))
    before = trial.registry.read()
    event = fire(trigger)
    assert event["status"] == status
    said = {"ended": "on trial", "superseded": "for release 'another'", "latched": "stop"}[how]
    with pytest.raises(GateRejectedError, match=said):
        complete(sensor, event)
    assert trial.registry.read() == before


def test_a_refused_renewal_ends_the_wait_with_its_own_reason(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """The API says no for good (here: the token): asking on would end in a lease that runs out in silence."""
    answers.requests = UNDECIDED
    fleet[0].status = 401
    sensor = gate(policy, lease_seconds=1200)
    event = fire(deferred(sensor))
    assert event["status"] == "refused"
    with pytest.raises(GateRejectedError, match=r"the lease of the trial is not renewed: .*401"):
        complete(sensor, event)
    last = trial.ledger.read()[-1]
    assert (last.event, last.details["verdict"]) == (Event.REJECTED, "inconclusive")
    assert "401" in last.reason


def test_an_unreachable_api_is_asked_until_the_lease_is_over(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """503 everywhere: asked again at each look; then the lease runs out, which is the end of the trial."""
    answers.requests = UNDECIDED
    for server in fleet:
        server.status = 503
    soon = utc_now() + dt.timedelta(seconds=3.5)

    def shortened(state: Registry) -> Registry:
        assert state.candidate is not None
        return state.model_copy(update={"candidate": state.candidate.model_copy(update={"lease_until": soon})})

    trial.registry.update(shortened)
    sensor = gate(write_policy(policy, inconclusive_minutes=60), lease_seconds=30)
    event = fire(deferred(sensor))
    assert event["status"] == "decided"
    assert utc_now() >= soon
    with pytest.raises(GateRejectedError, match="its lease ran out"):
        complete(sensor, event)


def test_one_replica_is_enough_to_renew(
    trial: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path
) -> None:
    """The first one is down: the second takes it."""
    answers.requests = UNDECIDED
    fleet[0].status = 502
    sensor = gate(policy, lease_seconds=1200)
    event = fire(deferred(sensor))
    assert event["status"] == "decided"
    assert (len(fleet[0].leases), len(fleet[1].leases)) == (0, 1)
    assert trial.registry.read().candidate is not None


@pytest.mark.parametrize("lease", [None, 600.0])
def test_a_lease_is_not_renewed_before_its_time(
    stores: Stores, fleet: list[ReplicaServer], answers: Answers, policy: Path, lease: float | None
) -> None:
    """More than two thirds are left, or the trial has no lease: nobody is asked."""
    start_trial(stores, lease_seconds=lease)
    answers.requests = UNDECIDED
    fire(deferred(gate(policy, lease_seconds=60)))
    assert [lease for server in fleet for lease in server.leases] == []


def test_a_policy_that_breaks_meanwhile_is_tried_again_and_then_told(
    trial: Stores, answers: Answers, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger can't look: it says so after a while, and what the worker finds counts."""
    monkeypatch.setattr(trial_module, "UNABLE_SECONDS", 0.5)
    answers.requests = UNDECIDED
    sensor, text = gate(policy), policy.read_text()
    trigger = deferred(sensor)
    policy.write_text("checks: []\n")
    event = fire(trigger)
    assert event["status"] == "unable"
    assert "policy.yaml" in event["reason"]
    with pytest.raises(AirflowFailException, match=r"policy\.yaml"):
        complete(sensor, event)
    policy.write_text(text)
    with pytest.raises(GateRejectedError, match="the triggerer can't judge the trial"):
        complete(sensor, event)
    assert events(trial)[-1] is Event.REJECTED


def test_looking_does_not_hold_up_other_triggers(
    trial: Stores, answers: Answers, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that takes long to answer is waited for in a thread: the event loop goes on."""
    answers.requests = UNDECIDED
    trigger = deferred(gate(policy))

    def slow(*arguments: Any, **named: Any) -> Any:
        time.sleep(1.0)
        return answers.collect(*arguments, **named)

    monkeypatch.setattr(looking, "collect", slow)

    async def ticks() -> int:
        watch = asyncio.create_task(trigger._watch())
        await asyncio.sleep(1.2)  # it looks now
        counted, until = 0, time.monotonic() + 0.5
        while time.monotonic() < until:
            await asyncio.sleep(0.01)
            counted += 1
        watch.cancel()
        return counted

    assert asyncio.run(ticks()) > 20
    assert trial.registry.read().candidate is not None


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"status": "pass", "started_at": 0.0, "generation": 2, "reason": ""},
        {"status": "changed", "started_at": 0.0},
        {"status": "decided", "generation": 2, "reason": ""},
        {"status": "refused", "started_at": 0.0, "reason": ""},
    ],
)
def test_an_unknown_event_is_a_failure(trial: Stores, policy: Path, event: Any) -> None:
    """Nothing that the triggerer is not known to say is a reason to go on."""
    with pytest.raises(AirflowFailException, match="unknown event"):
        gate(policy).execute_complete(context(), event)
    assert Event.REJECTED not in events(trial)


@pytest.mark.parametrize(("change", "said"), [({"stage": "later"}, "stage"), ({"lease_seconds": "0"}, "lease_seconds")])
def test_a_field_that_can_not_be_meant_fails_at_once(
    trial: Stores, answers: Answers, policy: Path, change: dict[str, Any], said: str
) -> None:
    answers.requests = UNDECIDED
    with pytest.raises(AirflowFailException, match=said):
        gate(policy, **change).execute(context())
    assert trial.registry.read().candidate is not None


def test_without_a_trial_there_is_nothing_to_judge(stores: Stores, answers: Answers, policy: Path) -> None:
    """The gate stands before the reload by mistake: rejected at once, not waited for."""
    with pytest.raises(GateRejectedError, match="trial"):
        gate(policy).execute(context())
    assert answers.looks == 1
    assert stores.registry.read().candidate is None
