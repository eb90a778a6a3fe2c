"""The gate as a task, before a trial or during it: it judges in the worker, and waits without one."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, assert_never

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
from pydantic import TypeAdapter

from model_release import fleet
from model_release.adapters.decisions import write_decision
from model_release.contract import LeaseRequest, LeaseSeconds
from model_release.ending import REJECTION_KEY
from model_release.errors import ModelReleaseError
from model_release.policy import Stage
from model_release.verdict import Decision
from model_release_airflow.context import (
    Stores,
    actor,
    decisions_fail,
    one_of,
    optional_number,
    optional_text,
    release_id_of,
)
from model_release_airflow.durable import kept_time
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook

# What judges, with NumPy and PyArrow, is imported where it is used: DAG files are read every few seconds.
if TYPE_CHECKING:
    from model_release_airflow.look import Asked, Look
    from model_release_airflow.triggers.evidence import EvidenceEvent, EvidenceTrigger
    from model_release_airflow.triggers.trial import TrialEvent, TrialTrigger

_STAGE: TypeAdapter[Stage] = TypeAdapter(Stage)
_LEASE: TypeAdapter[int] = TypeAdapter(LeaseSeconds)
_GRACE_SECONDS = 60.0


class QualityGateSensor(BaseSensorOperator):
    """Let a run pass, wait for evidence that may still come, or stop the release.

    Stage ``offline`` judges what data quality, evaluation and registry say, before a trial; ``online`` judges the run
    that is on trial.  PASS succeeds, with the decision as the task's value; FAIL fails at once, without retries; ERROR
    and INCONCLUSIVE wait in the triggerer for evidence to change, as long as the policy's budgets allow, if it can
    change at all.  A decision that rejects is left as XCom ``rejection``.  While it waits on a trial, the trial's lease is renewed.  ``soft_fail`` is refused: a gate that
    crashes is not a gate that may be passed over.

    :param run_id: The run to judge. (templated)
    :param stage: ``offline``, before a trial, or ``online``, during it. (templated)
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    :param policy: The policy file; default: ``RELEASE_POLICY``, else ``config/release_policy.yaml``. (templated)
    :param on_reject: ``fail`` the task, or ``skip`` it and what comes after.
    :param lease_seconds: How long a trial's lease is renewed for, at a third of it. (templated)
    :param conn_id: The connection of the recommendation API, where the lease is renewed.
    """

    template_fields: Sequence[str] = ("run_id", "stage", "release_id", "policy", "lease_seconds")
    ui_color = "#f6e7c1"

    def __init__(
        self,
        *,
        run_id: str,
        stage: str = "offline",
        release_id: str | None = None,
        policy: str | None = None,
        on_reject: Literal["fail", "skip"] = "fail",
        lease_seconds: int | str = 900,
        conn_id: str = DEFAULT_CONN_ID,
        poke_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.run_id = run_id
        self.stage = stage
        self.release_id = release_id
        self.policy = policy
        self.on_reject = on_reject
        self.lease_seconds = lease_seconds
        self.conn_id = conn_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Judge; defer only if the decision says wait."""
        if self.soft_fail or self.never_fail:
            raise AirflowFailException("soft_fail and never_fail do not go with a gate; use on_reject='skip'")
        return self._look(context, started_at=self._began(context))

    def _began(self, context: Mapping[str, Any]) -> float:
        """Return the Unix time from which the budgets count: that of the first try on the same state of the registry."""
        try:
            generation = Stores.from_environment().registry.read().generation
        except ModelReleaseError:  # what can't be read is for the checks to say
            generation = None
        about = {"run_id": self.run_id, "stage": self.stage, "generation": generation}
        return kept_time(context, "started_at", about, time.time())

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge again: the evidence changed, or the budget is spent."""
        from model_release_airflow.triggers.evidence import parse_evidence_event
        from model_release_airflow.triggers.trial import parse_trial_event

        parsed: EvidenceEvent | TrialEvent
        trial: TrialEvent | None = None
        with decisions_fail():
            match one_of(_STAGE, "stage", self.stage):
                case "offline":
                    parsed = parse_evidence_event(event)
                case "online":
                    parsed = trial = parse_trial_event(event)
        return self._look(context, started_at=parsed["started_at"], event=trial)

    def _look(
        self, context: Mapping[str, Any], *, started_at: float, event: TrialEvent | None = None
    ) -> dict[str, Any]:
        from model_release.adapters.evidence_files import fingerprint
        from model_release_airflow.gate_word import speak
        from model_release_airflow.look import look

        stores = Stores.from_environment()
        with decisions_fail():
            asked = self._asked(context)
            known = fingerprint(stores.paths, self.run_id)  # before the files are read: a later change is noticed
            seen = look(stores.paths, asked, started_at=started_at)
            stopped = _why_not_waited(seen, event)
            decision, outcome = seen.decision, "reject" if stopped else seen.outcome
            if outcome == "wait":
                write_decision(stores.paths, decision)
            else:
                speak(stores, seen, by=actor(context), stopped=stopped)
        self._print(decision, event)
        match outcome:
            case "release":
                self._leave_time(asked, seen)
                receipt = decision.model_dump(mode="json")
            case "reject":
                context["ti"].xcom_push(REJECTION_KEY, decision.model_dump(mode="json"))
                self._reject(f"{stopped}; {decision.summary}" if stopped else decision.summary)
            case "wait":
                self._wait(asked, seen, known, started_at)
            case _:
                assert_never(outcome)
        return receipt

    def _leave_time(self, asked: Asked, seen: Look) -> None:
        """Renew the lease of a trial that passed: nobody else does, until the next task has its turn.

        It may fail: the trial then has the time that is left of the lease.
        """
        trial, generation = seen.trial, seen.decision.generation
        if trial is None or trial.lease_until is None or generation is None:
            return
        seconds = one_of(_LEASE, "lease_seconds", optional_number(self.lease_seconds))
        request = LeaseRequest(release_id=asked.release_id, generation=generation, lease_seconds=seconds)
        try:
            with RecommendationApiHook(self.conn_id).replicas() as replicas:
                until = fleet.renew(replicas, request).lease_until
        except (ModelReleaseError, AirflowNotFoundException) as error:
            self.log.warning("lease not renewed, the trial ends at %s: %s", trial.lease_until.isoformat(), error)
            return
        self.log.info("the trial may go on until %s, for the next task", until.isoformat(timespec="seconds"))

    def _asked(self, context: Mapping[str, Any]) -> Asked:
        from model_release_airflow.look import Asked

        return Asked(
            run_id=self.run_id,
            release_id=release_id_of(context, optional_text(self.release_id)),
            stage=one_of(_STAGE, "stage", self.stage),
            policy=optional_text(self.policy),
        )

    def _reject(self, reason: str) -> NoReturn:
        match self.on_reject:
            case "fail":
                raise GateRejectedError(reason)
            case "skip":
                raise AirflowSkipException(reason)
            case _:
                assert_never(self.on_reject)

    def _wait(self, asked: Asked, seen: Look, known: str, started_at: float) -> NoReturn:
        trigger, deadline = self._trigger(asked, seen, known, started_at)
        self.log.info("waiting up to %.0f s for evidence to change, without a worker slot", deadline - time.time())
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=max(0.0, deadline - time.time()) + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _trigger(
        self, asked: Asked, seen: Look, known: str, started_at: float
    ) -> tuple[EvidenceTrigger | TrialTrigger, float]:
        """Return what waits, and until when."""
        from model_release_airflow.look import alert_verdicts
        from model_release_airflow.triggers.evidence import EvidenceTrigger

        match asked.stage:
            case "offline":
                deadline = seen.deadline.timestamp()
                return EvidenceTrigger(
                    run_id=asked.run_id,
                    release_id=asked.release_id,
                    policy=asked.policy,
                    alerts=alert_verdicts(seen.decision),
                    known=known,
                    started_at=started_at,
                    poll_seconds=self.poke_interval,
                    deadline=deadline,
                ), deadline
            case "online":
                deadline = seen.latest.timestamp()
                return self._trial_trigger(asked, seen, started_at, deadline), deadline
            case _:
                assert_never(asked.stage)

    def _trial_trigger(self, asked: Asked, seen: Look, started_at: float, deadline: float) -> TrialTrigger:
        """Return the trigger of a trial: it looks no more often than there can be something new."""
        from model_release_airflow.triggers.trial import TrialTrigger

        step = seen.policy.online.step_seconds if seen.policy.online is not None else 0.0
        until = seen.trial.lease_until if seen.trial is not None else None
        with decisions_fail():
            lease_seconds = one_of(_LEASE, "lease_seconds", optional_number(self.lease_seconds))
        return TrialTrigger(
            run_id=asked.run_id,
            release_id=asked.release_id,
            policy=asked.policy,
            started_at=started_at,
            poll_seconds=max(self.poke_interval, step),
            deadline=deadline,
            conn_id=self.conn_id,
            generation=seen.decision.generation,
            lease_seconds=lease_seconds,
            lease_until=None if until is None else until.timestamp(),
        )

    def _print(self, decision: Decision, event: TrialEvent | None) -> None:
        from model_release.report import plain

        if event is not None:
            self.log.info("the triggerer says %s: %s", event["status"], event["reason"])
        for line in plain(decision).splitlines():
            self.log.info("%s", line)


def _why_not_waited(seen: Look, event: TrialEvent | None) -> str | None:
    """Return why it is not worth waiting although the evidence may still change; None: it is, or nothing is to wait for.

    A lease that is refused, or a triggerer that can't look, would be found again at once: unless the registry has moved on
    since, the next trigger gets the same answer.
    """
    if event is None or seen.outcome != "wait" or seen.decision.generation != event["generation"]:
        return None
    match event["status"]:
        case "refused":
            return f"the lease of the trial is not renewed: {event['reason']}"
        case "unable":
            return f"the triggerer can't judge the trial: {event['reason']}"
        case "decided" | "moved" | "timed_out":
            return None
        case status:
            assert_never(status)
