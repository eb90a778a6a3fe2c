"""Register, verify, close, latch, and the callback that writes down failures."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.paths import ReleasePaths
from model_release.phases import Phase, phase_of, record
from model_release_airflow.context import Stores
from model_release_airflow.failures import record_failure
from model_release_airflow.operators.latch import LatchOperator
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_register import RunRegisterOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from tests.airflow.contexts import RELEASE_ID, context
from tests.airflow.replica_server import ReplicaServer
from tests.airflow.test_model_reload import passed, reload, run
from tests.runs import publish_run


def execute(operator: Any, **changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = operator.execute(context(operator, **changes))
    return result


def verify(**changes: Any) -> RunVerifyOperator:
    return RunVerifyOperator(task_id="verify", run_id="new", put_back_seconds=1.0, **changes)


def close(**changes: Any) -> ReleaseCloseOperator:
    return ReleaseCloseOperator(task_id="close_release", put_back_seconds=1.0, **changes)


def current(stores: Stores) -> str | None:
    registry = stores.registry.read()
    return registry.current.run_id if registry.current else None


def last(stores: Stores) -> LedgerEntry:
    return of_release(stores.ledger.read(), RELEASE_ID)[-1]


def test_a_run_is_registered_once(stores: Stores) -> None:
    """Its manifest is pinned, the generation stays, a second time changes nothing."""
    publish_run(stores.paths, "third", seed=3)
    first = execute(RunRegisterOperator(task_id="register", run_id="third"))
    assert execute(RunRegisterOperator(task_id="register", run_id="third")) == first
    registered = stores.registry.read().registered("third")
    assert registered is not None
    assert (registered.manifest_sha256, first["generation"]) == (first["manifest_sha256"], 1)
    assert [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)] == [Event.REGISTERED]


def test_a_release_that_was_overtaken_is_not_registered(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A backfill, or a DAG run of last week that is cleared: the age is that of the DAG run, and it is said at once."""
    old = SimpleNamespace(run_id="backfill__1", triggering_user_name=None, run_after=utc_now() - timedelta(days=30))
    with pytest.raises(AirflowFailException, match=r"OutdatedReleaseError: release .* was asked for at"):
        execute(RunRegisterOperator(task_id="register", run_id="new"), dag_run=old)
    passed(stores)
    with pytest.raises(AirflowFailException, match="OutdatedReleaseError"):
        reload().execute(context(dag_run=old))
    assert current(stores) == "old"
    assert of_release(stores.ledger.read(), RELEASE_ID)[-1].event is Event.GATE_DECIDED
    assert fleet[0].posts == []  # it does not even load it


def test_a_release_carried_out_and_overtaken_fails_before_any_work(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Cleared as a whole, or from ``model_reload`` on; the failure says in the ledger which kind it is."""
    passed(stores)
    reload().execute(context())
    stores.registry.update(
        lambda state: transitions.promote(state, run_id="old", release_id="later", at=utc_now(), cause="person")
    )
    posts, generation = len(fleet[0].posts), stores.registry.read().generation
    for operator in (RunRegisterOperator(task_id="register", run_id="new"), reload()):
        with pytest.raises(AirflowFailException, match="release 'later' made old current since") as caught:
            operator.execute(context(operator))
        record_failure(context(operator, exception=caught.value))
        assert last(stores).details == {"error": "OutdatedReleaseError"}
    assert (len(fleet[0].posts), stores.registry.read().generation) == (posts, generation)


@pytest.mark.usefixtures("fleet")
def test_who_lost_is_told_who_won(stores: Stores) -> None:
    """Both gates decided on one generation; the message names the release that went first, and its run."""
    publish_run(stores.paths, "third", seed=3)
    execute(RunRegisterOperator(task_id="register", run_id="third", release_id="rival"))
    passed(stores)
    stores.registry.update(
        lambda state: transitions.promote(state, run_id="third", release_id="rival", at=utc_now(), cause="person")
    )
    soon = SimpleNamespace(run_id="manual__1", triggering_user_name=None, run_after=utc_now() + timedelta(hours=1))
    with pytest.raises(
        AirflowFailException, match=r"GenerationConflictError: .* release 'rival' made third current at"
    ):
        reload().execute(context(dag_run=soon))


def test_an_altered_run_is_not_registered(stores: Stores) -> None:
    """One byte differs: refused for good, and the registry does not know it."""
    publish_run(stores.paths, "third", seed=3)
    file = stores.runs.folder("third") / "popular.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(AirflowFailException, match="altered or damaged"):
        execute(RunRegisterOperator(task_id="register", run_id="third"))
    assert stores.registry.read().registered("third") is None


def test_a_registered_run_can_not_be_replaced(stores: Stores) -> None:
    """The same id with another manifest is refused."""
    import shutil

    shutil.rmtree(stores.runs.folder("new"))
    publish_run(stores.paths, "new", seed=77)
    with pytest.raises(AirflowFailException, match="not the one that was registered"):
        execute(RunRegisterOperator(task_id="register", run_id="new"))


def test_real_requests_prove_a_release(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Known users get what was recorded at training, from every replica; the ledger says verified, once."""
    passed(stores)
    run(reload())
    receipt = execute(verify())
    assert receipt == {"run_id": "new", "mode": "primary", "replicas": 2, "requests": 10, "missing": []}
    execute(verify())
    events = [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]
    assert events.count(Event.VERIFIED) == 1
    assert len(fleet) == 2


def test_lists_of_another_run_are_noticed_and_taken_back(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A replica that reports the new run and answers with the old one's lists: back, and failed for good."""
    passed(stores)
    run(reload())
    fleet[1].answers_from = "old"
    with pytest.raises(AirflowFailException, match=r"came from run old.*served again by every replica"):
        execute(verify())
    assert current(stores) == "old"
    assert {server.replica.served.generation for server in fleet} == {3}
    assert last(stores).event is Event.ROLLED_BACK


def test_a_lying_label_is_noticed(stores: Stores, fleet: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that names the new run but holds other items is wrong."""
    passed(stores)
    run(reload())
    honest = fleet[0].get

    def lying(path: str) -> Any:
        answer = honest(path)
        return answer.model_copy(update={"items": ("i1",)}) if "/recommend/" in path else answer

    monkeypatch.setattr(fleet[0], "get", lying)
    with pytest.raises(AirflowFailException, match="recorded was"):
        execute(verify())
    assert current(stores) == "old"


def _try_another_run(stores: Stores) -> None:
    """Let another release put a run on trial, and tell nobody."""
    stores.registry.update(
        lambda state: transitions.start_trial(
            state, run_id="old", mode="shadow", rollout=0.1, release_id="other:1", at=utc_now()
        )
    )


def test_another_release_that_switches_just_now_is_waited_for(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A worker that has not heard of its trial yet is no wrong answer: the run that serves well stays."""
    passed(stores)
    run(reload())
    _try_another_run(stores)

    def hear() -> None:
        for server in fleet:
            server.replica.look()

    timer = threading.Timer(0.8, hear)
    timer.start()
    assert execute(verify())["run_id"] == "new"
    timer.join()
    assert current(stores) == "new"
    assert last(stores).event is Event.VERIFIED


def test_answers_of_a_registry_that_moved_meanwhile_are_asked_for_again(
    stores: Stores, fleet: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were compared with what was desired before."""
    passed(stores)
    run(reload())
    honest, lies = fleet[0].get, ["once"]

    def moving(path: str) -> Any:
        answer = honest(path)
        if "/recommend/" not in path or not lies:
            return answer
        lies.clear()
        _try_another_run(stores)
        for server in fleet:
            server.replica.look()
        return answer.model_copy(update={"run_id": "old", "variant": "candidate"})

    monkeypatch.setattr(fleet[0], "get", moving)
    assert execute(verify())["run_id"] == "new"
    assert current(stores) == "new"


def test_replicas_that_do_not_settle_in_time_go_back(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The wait for others ends."""
    passed(stores)
    run(reload())
    _try_another_run(stores)
    assert fleet[0].replica.served.generation < stores.registry.read().generation
    with pytest.raises(AirflowFailException, match="desired is"):
        execute(verify(agree_seconds=0.6))
    assert current(stores) == "old"


def test_users_keep_the_current_run_during_a_shadow(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Every worker reports the trial, and users get the current run; if one gets the candidate, it ends."""
    passed(stores)
    run(reload(mode="shadow", rollout=0.1))
    assert execute(verify(mode="shadow"))["mode"] == "shadow"
    assert phase_of(stores.ledger.read(), RELEASE_ID) is Phase.VERIFIED
    fleet[0].answers_from = "new"
    with pytest.raises(AirflowFailException, match="came from run new"):
        execute(verify(mode="shadow"))
    assert stores.registry.read().candidate is None
    assert current(stores) == "old"


def test_an_outage_during_verify_is_tried_again_and_then_closed(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Nobody answers: nothing is known, so the task is tried again; in the end the release is put back."""
    passed(stores)
    run(reload())
    fleet[0].status = 502
    with pytest.raises(AirflowException) as caught:
        execute(verify())
    assert not isinstance(caught.value, AirflowFailException)
    with pytest.raises(AirflowException, match="not yet served everywhere"):
        execute(close())
    assert current(stores) == "old"
    fleet[0].status = None
    fleet[0].replica.look()
    assert execute(close())["phase"] == "proved"
    assert last(stores).event is Event.ROLLED_BACK


@pytest.mark.parametrize("mode", ["primary", "shadow"])
def test_a_release_that_nobody_verified_is_put_back(stores: Stores, fleet: list[ReplicaServer], mode: str) -> None:
    """Whatever became of the task after its commit: the end is the run from before, on every replica."""
    passed(stores)
    run(reload(mode=mode, rollout=None if mode == "primary" else 0.5))
    execute(close(), states={"model_reload": "success", "verify": "failed"})
    registry = stores.registry.read()
    assert (current(stores), registry.candidate) == ("old", None)
    assert {server.replica.served.generation for server in fleet} == {registry.generation}
    reasons = [entry.reason for entry in of_release(stores.ledger.read(), RELEASE_ID)]
    assert any("verify failed without a word" in reason for reason in reasons)


def test_closing_again_changes_nothing(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A retried or cleared end finds what was done."""
    passed(stores)
    run(reload())
    execute(close())
    generation, entries = stores.registry.read().generation, stores.ledger.read()
    execute(close())
    assert stores.registry.read().generation == generation
    assert stores.ledger.read() == entries
    assert len(fleet) == 2


def test_a_verified_release_stays(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The end of a good release only reports it, without asking anybody."""
    passed(stores)
    run(reload())
    execute(verify())
    posts = [len(server.posts) for server in fleet]
    assert execute(close()) == {"release_id": RELEASE_ID, "phase": "verified"}
    assert [len(server.posts) for server in fleet] == posts
    assert current(stores) == "new"


@pytest.mark.parametrize("event", [Event.REJECTED, Event.FAILED])
def test_a_verified_trial_that_was_rejected_or_failed_since_is_ended(
    stores: Stores, fleet: list[ReplicaServer], event: Event
) -> None:
    """The gate said no while it was on trial, or was never heard again: users keep the old run, everywhere."""
    passed(stores)
    run(reload(mode="canary", rollout=0.5))
    execute(verify(mode="canary"))
    record(
        stores.ledger,
        LedgerEntry(at=utc_now(), event=event, release_id=RELEASE_ID, by="gate", run_id="new", reason="worse"),
    )
    assert execute(close())["phase"] == "proved"
    registry = stores.registry.read()
    assert (current(stores), registry.candidate) == ("old", None)
    assert {server.replica.served.generation for server in fleet} == {registry.generation}
    assert last(stores).reason == f"{event}: worse"


def test_another_release_is_left_alone(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """The end of a release that changed nothing does not touch what others released."""
    passed(stores)
    run(reload())
    execute(close(release_id="other"), states={"train": "failed"})
    assert current(stores) == "new"
    assert len(fleet) == 2


def test_a_failure_is_written_down_with_its_reason(stores: Stores) -> None:
    """Task, message and person stand in the ledger; the same failure stands there once."""
    operator = ModelReloadOperator(task_id="model_reload", run_id="new")
    assert operator.on_failure_callback == [record_failure]
    for _ in range(2):
        record_failure(context(operator, exception=AirflowFailException("replica http://r1 answered 424")))
    entries = of_release(stores.ledger.read(), RELEASE_ID)
    assert [(entry.event, entry.reason) for entry in entries] == [
        (Event.FAILED, "model_reload failed: replica http://r1 answered 424")
    ]
    assert entries[0].by == "airflow:recommendation_pipeline/model_reload (admin)"


def test_the_latch_stops_a_release_that_the_gate_passed(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Set, the latch refuses the commit; cleared, the gate has to speak again; both stand in the ledger."""
    passed(stores)
    receipt = execute(LatchOperator(task_id="latch", action="set", reason="complaints"), run_id="latch-1")
    assert receipt == {"latched": True, "generation": 2}
    assert {server.replica.served.generation for server in fleet} == {2}
    with pytest.raises(AirflowFailException):
        run(reload())
    execute(LatchOperator(task_id="latch", action="clear", reason="fixed"), run_id="latch-2")
    with pytest.raises(
        AirflowFailException, match=r"release 'recommendation_pipeline:latch-2' latch cleared at generation 3"
    ):
        run(reload())
    passed(stores)
    assert run(reload())["run_id"] == "new"
    events = [entry.event for entry in stores.ledger.read()]
    assert events.count(Event.LATCH_SET) == events.count(Event.LATCH_CLEARED) == 1


def test_an_old_latch_run_leaves_what_was_decided_since(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """Cleared after somebody allowed releases again, the DAG run that stopped them changes nothing."""
    execute(LatchOperator(task_id="latch", action="set", reason="complaints"), run_id="latch-1")
    execute(LatchOperator(task_id="latch", action="clear", reason="fixed"), run_id="latch-2")
    before = stores.registry.read(), stores.ledger.read()
    receipt = execute(LatchOperator(task_id="latch", action="set", reason="complaints"), run_id="latch-1")
    assert receipt["latched"] is False
    assert (stores.registry.read(), stores.ledger.read()) == before
    assert len(fleet) == 2


@pytest.mark.parametrize(("action", "reason"), [("set", " "), ("open", "why")])
def test_a_latch_needs_a_reason_and_a_known_action(stores: Stores, action: str, reason: str) -> None:
    """Whoever finds it set must learn why."""
    with pytest.raises(AirflowFailException):
        execute(LatchOperator(task_id="latch", action=action, reason=reason))
    assert stores.registry.read().latch is None


def test_keeping_the_latch_changes_nothing(stores: Stores) -> None:
    """A rollback that does not stop releases leaves the generation to the reload."""
    stores.registry.update(lambda state: transitions.set_latch(state, reason="r", by="b", at=utc_now()))
    before = stores.registry.read()
    assert execute(LatchOperator(task_id="latch", action="keep", reason="why"))["latched"] is True
    assert stores.registry.read() == before


def test_a_first_dag_run_that_fails_does_not_stop_the_next(paths: ReleasePaths) -> None:
    """Its failure is the first entry of the ledger, and there is no registry yet."""
    task = RunRegisterOperator(task_id="check_data", run_id="first")
    record_failure(context(task, exception=AirflowException("the source is not there")))
    assert [entry.event for entry in Stores.from_environment().ledger.read()] == [Event.FAILED]
    publish_run(paths, "first", seed=1)
    assert execute(RunRegisterOperator(task_id="register", run_id="first"))["generation"] == 0
