"""A person is asked: their answer counts for what they were shown, their silence is a no, and a bad trial does not wait."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.errors import InvalidInputError
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.messages import compose
from model_release_airflow import question as questions
from model_release_airflow.context import Stores
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.operators.approval import APPROVE, DECLINE, ReleaseApprovalOperator
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.release import Approval
from model_release_airflow.sensors.quality_gate import QualityGateSensor
from model_release_airflow.triggers import approval as triggers
from model_release_airflow.triggers.approval import ApprovalTrigger, parse_approval_event
from tests.airflow.contexts import DAG_ID, DAG_RUN_ID, RELEASE_ID, context, fire
from tests.airflow.replica_server import ReplicaServer
from tests.airflow.test_model_reload import passed
from tests.airflow.trials import Answers, lease_until, start_trial, write_policy
from tests.fakes_wecom import FakeWeCom, wecom

pytestmark = pytest.mark.usefixtures("airflow", "fleet")

TI_ID = uuid.uuid4()


class Airflow:
    """The question that Airflow shows, and the answer that it has."""

    def __init__(self) -> None:
        self.questions: list[CreateHITLDetailPayload] = []
        self.keeps = True
        self.options: list[str] = []
        self.reason = ""

    def send(self, payload: CreateHITLDetailPayload) -> HITLDetailRequestResult:
        """Keep the question; one that is there already stays as it was, as in Airflow."""
        self.questions.append(payload)
        first = self.questions[0] if self.keeps else payload
        return HITLDetailRequestResult(**first.model_dump(exclude={"type"}))

    def answer(self, ti_id: uuid.UUID) -> SimpleNamespace:
        assert ti_id == TI_ID
        return SimpleNamespace(
            response_received=bool(self.options),
            chosen_options=self.options,
            params_input={"reason": self.reason},
            responded_by_user=SimpleNamespace(id="7", name="Ada"),
        )


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    fake = Airflow()
    monkeypatch.setattr(questions, "_send", fake.send)
    monkeypatch.setattr(triggers, "get_hitl_detail_content_detail", fake.answer)
    return fake


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.yaml")


def asking(policy: Path | None = None, *, hours: float = 1.0, tell: bool = False, **changes: Any) -> Any:
    return ReleaseApprovalOperator(
        task_id="approval",
        run_id="new",
        approval=Approval(hours=hours, tell=tell),
        policy=None if policy is None else str(policy),
        poke_interval=0.1,
        **changes,
    )


def around(task: Any, **changes: Any) -> dict[str, Any]:
    instance = SimpleNamespace(id=TI_ID, dag_id=DAG_ID, run_id=DAG_RUN_ID, task_id="approval", map_index=-1)
    return context(task, ti=instance, **changes)


def deferred(task: Any) -> tuple[ApprovalTrigger, dict[str, Any]]:
    with pytest.raises(TaskDeferred) as caught:
        task.execute(around(task))
    assert isinstance(caught.value.trigger, ApprovalTrigger)
    return caught.value.trigger, dict(caught.value.kwargs or {})


def answered(options: list[str], reason: str = "", *, name: str = "Ada") -> dict[str, Any]:
    """Return the event with which Airflow itself resumes the task."""
    return {
        "chosen_options": options,
        "params_input": {"reason": reason},
        "responded_at": None,
        "responded_by_user": {"id": "7", "name": name},
        "timedout": False,
    }


def events(stores: Stores) -> list[Event]:
    return [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]


def last(stores: Stores, event: Event) -> LedgerEntry:
    return [entry for entry in stores.ledger.read() if entry.event is event][-1]


def reload(**changes: Any) -> ModelReloadOperator:
    return ModelReloadOperator(
        task_id="model_reload", run_id="new", approval=True, poll_seconds=0.05, timeout_seconds=1.0, **changes
    )


def test_an_approval_lets_the_run_become_current(stores: Stores) -> None:
    """Who and why stand in the ledger, the receipt and the message."""
    passed(stores)
    task = asking()
    trigger, kwargs = deferred(task)
    assert not trigger.watched
    receipt = task.execute_complete(around(task), answered([APPROVE], "looked at the lists"), **kwargs)
    assert receipt == {"run_id": "new", "generation": 1, "by": "Ada", "reason": "looked at the lists"}
    entry = last(stores, Event.APPROVED)
    assert "answered by Ada" in entry.by
    assert (entry.details["who"], entry.details["user_id"]) == ("Ada", "7")
    assert reload().execute(context())["changed"]
    told = compose(stores.ledger.read(), None, release_id=RELEASE_ID, failed=False, link="http://x")
    assert "approved by Ada: looked at the lists" in told.markdown


def test_without_an_approval_nothing_is_committed(stores: Stores) -> None:
    """The task may be marked as successful by hand: the ledger is what counts.  A trial needs none."""
    passed(stores)
    with pytest.raises(AirflowFailException, match="nobody approved of run 'new'"):
        reload().execute(context())
    assert stores.registry.read().generation == 1
    assert reload(mode="canary", rollout=0.1).execute(context())["changed"]


def test_an_approval_is_for_the_decision_that_was_shown(stores: Stores, airflow: Airflow) -> None:
    """Judged again since, it has to be asked for again; a retry finds it."""
    passed(stores)
    task = asking()
    _, kwargs = deferred(task)
    task.execute_complete(around(task), answered([APPROVE]), **kwargs)
    assert asking().execute(around(task))["by"] == "Ada"
    passed(stores)
    with pytest.raises(AirflowFailException, match="nobody approved"):
        reload().execute(context())
    airflow.keeps = False
    deferred(asking())
    assert len(airflow.questions) == 2


def test_an_answer_to_an_older_question_is_no_approval(stores: Stores) -> None:
    """The gate alone was cleared meanwhile, and passed the run again at the same generation."""
    passed(stores)
    task = asking()
    _, kwargs = deferred(task)
    passed(stores)
    with pytest.raises(AirflowFailException, match="nobody approved"):
        task.execute_complete(around(task), answered([APPROVE]), **kwargs)
    with pytest.raises(AirflowFailException, match="nobody approved"):
        reload().execute(context())


@pytest.mark.usefixtures("answers")
def test_nobody_is_asked_by_a_question_that_shows_older_evidence(
    stores: Stores, fleet: list[ReplicaServer], policy: Path
) -> None:
    """Airflow keeps the text of a task's first question: judged again, the person would approve of what they don't see."""
    _judged_trial(stores, fleet, policy)
    deferred(asking(policy))
    deferred(asking(policy))  # a retry: the same question
    time.sleep(1.1)
    QualityGateSensor(task_id="g", run_id="new", stage="online", policy=str(policy)).execute(context())
    task = asking(policy)
    with pytest.raises(AirflowFailException, match="Trigger a new DAG run"):
        task.execute(around(task))


def test_a_yes_comes_too_late_for_a_trial_that_turned_bad(
    stores: Stores, fleet: list[ReplicaServer], policy: Path, answers: Answers
) -> None:
    """No triggerer looked; Airflow resumes the task by itself when it is answered."""
    _judged_trial(stores, fleet, policy)
    task = asking(policy)
    _, kwargs = deferred(task)
    answers.errors = 0.5
    with pytest.raises(GateRejectedError, match="while a person was asked"):
        task.execute_complete(around(task), answered([APPROVE]), **kwargs)
    assert Event.APPROVED not in events(stores)


def test_a_yes_comes_too_late_if_the_registry_moved_on(stores: Stores) -> None:
    passed(stores)
    task = asking()
    _, kwargs = deferred(task)
    stores.registry.update(lambda state: transitions.set_latch(state, reason="x", by="y", at=utc_now()))
    with pytest.raises(GateRejectedError, match="moved on to generation 2"):
        task.execute_complete(around(task), answered([APPROVE]), **kwargs)


@pytest.mark.parametrize("how", ["declined", "silence"])
def test_a_no_ends_the_release(stores: Stores, how: str) -> None:
    """Rejected, by whom and why; the reload can't follow, and nobody is told that a task had failed."""
    passed(stores)
    task = asking(hours=0.00001)
    trigger, kwargs = deferred(task)
    event = answered([DECLINE], "too many duplicates") if how == "declined" else fire(trigger)
    with pytest.raises(GateRejectedError) as caught:
        task.execute_complete(around(task), event, **kwargs)
    record_failure(context(task, exception=caught.value))
    assert events(stores)[-2:] == [Event.DECLINED, Event.REJECTED]
    assert Event.FAILED not in events(stores)
    reason = last(stores, Event.REJECTED).reason
    assert reason == ("declined by Ada: too many duplicates" if how == "declined" else "nobody answered in 1e-05 hours")
    with pytest.raises(AirflowFailException):
        reload().execute(context())
    told = compose(stores.ledger.read(), None, release_id=RELEASE_ID, failed=True, link="http://x")
    assert told.title == "⛔ Declined: new"
    assert reason in told.markdown
    assert not told.good


@pytest.mark.usefixtures("answers")
def test_the_question_shows_the_evidence(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow, policy: Path
) -> None:
    """The tables of the gate's decisions, the run, the DAG run; and a form for the reason."""
    start_trial(stores)
    for server in fleet:
        server.replica.look()
    QualityGateSensor(task_id="g", run_id="new", stage="online", policy=str(policy)).execute(context())
    deferred(asking(policy))
    (question,) = airflow.questions
    assert question.options == [APPROVE, DECLINE]
    assert question.ti_id == TI_ID
    assert "reason" in (question.params or {})
    assert "new" in question.subject
    assert question.body is not None
    assert "| errors" in question.body or "errors |" in question.body
    assert f"/dags/{DAG_ID}/runs/{DAG_RUN_ID}" in question.body


def test_people_are_told_once_that_they_are_asked(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry asks anew, with the deadline of the first time, and tells nobody."""
    passed(stores)
    with wecom() as robot:
        monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", robot.connection())
        first, _ = deferred(asking(tell=True))
        time.sleep(0.05)
        second, _ = deferred(asking(tell=True))
        assert first.deadline == second.deadline
        assert _titles(robot) == ["**🙋 May this run become current? new**"]
        assert "/required_actions" in robot.texts[0]
    assert events(stores).count(Event.APPROVAL_ASKED) == 1


def _titles(robot: FakeWeCom) -> list[str]:
    return [text.splitlines()[0] for text in robot.texts]


def test_a_trial_that_turns_bad_does_not_wait_for_the_answer(
    stores: Stores, fleet: list[ReplicaServer], policy: Path, answers: Answers
) -> None:
    """The trigger sees it, the worker judges and rejects, the end of the release takes it off trial."""
    _judged_trial(stores, fleet, policy)
    task = asking(policy)
    trigger, kwargs = deferred(task)
    assert trigger.watched
    threading.Timer(0.5, lambda: vars(answers).update(errors=0.5)).start()
    event = fire(trigger)
    assert event["status"] == "rejecting"
    assert Event.REJECTED not in events(stores)
    with pytest.raises(GateRejectedError, match="while a person was asked"):
        task.execute_complete(around(task), event, **kwargs)
    assert events(stores)[-2:] == [Event.GATE_DECIDED, Event.REJECTED]
    with pytest.raises(InvalidInputError, match="unknown event"):
        parse_approval_event({**event, **answered([APPROVE])})  # neither an answer nor what the trigger says
    close = ReleaseCloseOperator(task_id="close_release", put_back_seconds=1.0)
    close.execute(context(close, states={"approval": "failed"}))
    assert stores.registry.read().candidate is None


@pytest.mark.usefixtures("answers")
def test_the_lease_is_kept_while_a_person_thinks(
    stores: Stores, fleet: list[ReplicaServer], airflow: Airflow, policy: Path
) -> None:
    """A trial that passed waits on; what the API has not told, the trigger finds itself."""
    _judged_trial(stores, fleet, policy, lease_seconds=6)
    first = lease_until(stores)
    task = asking(policy, lease_seconds=6)
    trigger, kwargs = deferred(task)
    airflow.reason = "fine"
    threading.Timer(3.5, lambda: vars(airflow).update(options=[APPROVE])).start()
    event = fire(trigger)
    assert event["status"] == "answered"
    assert lease_until(stores) > first
    assert task.execute_complete(around(task), event, **kwargs)["reason"] == "fine"


def test_a_trial_that_can_not_be_measured_for_long_is_rejected(
    stores: Stores, fleet: list[ReplicaServer], policy: Path, answers: Answers
) -> None:
    """The budget counts from its last PASS, however long the person has been thinking before."""
    _judged_trial(stores, fleet, policy)
    trigger, _ = deferred(asking(write_policy(policy, error_minutes=0.05)))
    trigger.started_at = time.time() - 3600  # an hour ago, and elsewhere: what passed since, it does not know
    threading.Timer(1.5, lambda: vars(answers).update(up=False)).start()
    began = time.time()
    event = fire(trigger)
    assert event["status"] == "rejecting"
    assert time.time() - began >= 3.0


@pytest.mark.usefixtures("answers")
def test_what_ended_meanwhile_is_not_asked_for(stores: Stores, fleet: list[ReplicaServer], policy: Path) -> None:
    """Somebody else moved the registry, or the trigger can't go on: declined, with the reason."""
    _judged_trial(stores, fleet, policy)
    task = asking(policy)
    _, kwargs = deferred(task)
    event = {"status": "moved", "reason": "the registry is at generation 9", "passed_at": time.time()}
    with pytest.raises(GateRejectedError, match="generation 9"):
        task.execute_complete(around(task), event, **kwargs)


@pytest.mark.parametrize("event", [None, {}, {"status": "approved"}, {"chosen_options": []}, {"timedout": True}])
def test_an_unknown_event_is_no_yes(event: dict[str, Any] | None) -> None:
    with pytest.raises(InvalidInputError, match="unknown event"):
        parse_approval_event(event)


def test_airflows_default_after_a_time_out_is_no_yes() -> None:
    """We give none; somebody else's subclass might.  A yes that no person said is none either."""
    for change in ({"timedout": True}, {"responded_by_user": None}):
        with pytest.raises(InvalidInputError, match="unknown event"):
            parse_approval_event({**answered([APPROVE]), **change})


def test_nobody_is_asked_where_it_is_not_wanted(stores: Stores, airflow: Airflow) -> None:
    passed(stores)
    task = asking(only_if=[("shadow", "primary")])
    with pytest.raises(AirflowSkipException):
        task.execute(around(task))
    assert airflow.questions == []


@pytest.mark.usefixtures("stores")
def test_nobody_is_asked_about_what_the_gate_did_not_pass(airflow: Airflow) -> None:
    task = asking()
    with pytest.raises(AirflowFailException, match="never judged"):
        task.execute(around(task))
    assert airflow.questions == []


@pytest.mark.parametrize("hours", [0.0, -1.0, 337.0, float("nan")])
def test_an_approval_that_can_not_be_waited_for_is_refused(hours: float) -> None:
    with pytest.raises(InvalidInputError, match="hours"):
        Approval(hours=hours)


def _judged_trial(stores: Stores, fleet: list[ReplicaServer], policy: Path, *, lease_seconds: int = 600) -> None:
    """Put ``new`` on trial, and let the gate pass it."""
    start_trial(stores, lease_seconds=lease_seconds)
    for server in fleet:
        server.replica.look()
    gate = QualityGateSensor(
        task_id="online_gate", run_id="new", stage="online", policy=str(policy), lease_seconds=lease_seconds
    )
    assert gate.execute(context())["verdict"] == "pass"
