"""Ask a person before everybody gets a run."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, assert_never

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, conf

from model_release.adapters.decisions import read_decision
from model_release.approval import Approval, approved, asked_since, check_approved, decision_details, decision_of
from model_release.contract import utc_now
from model_release.evidence import TrialFacts
from model_release.gate_words import passed_at
from model_release.ledger import Event, LedgerEntry
from model_release.messages import approval_wanted
from model_release.policy import Stage
from model_release.steps import DEFAULT_LEASE_SECONDS
from model_release_airflow.context import (
    Stores,
    actor,
    decisions_fail,
    optional_text,
    pass_over_unless,
    release_id_of,
)
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID
from model_release_airflow.notifications.wecom import dag_run_link, tell_once
from model_release_airflow.operators.links import ModelsLink
from model_release_airflow.question import ask, question_about
from model_release_airflow.triggers.approval import ApprovalEvent, ApprovalTrigger, parse_approval_event

if TYPE_CHECKING:
    from model_release_airflow.look import Look

APPROVE, DECLINE = "Approve", "Reject"
_STAGES: tuple[Stage, ...] = ("offline", "online")
_REASON = 500  # characters
_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class _Asked:
    """What a person is asked about: the gate's last word, and the generation that a commit would build on."""

    generation: int
    decision: str | None


class ReleaseApprovalOperator(HITLOperator):
    """Show a person the evidence, and wait without a worker slot until they approve or reject, with a reason.

    Airflow's own page of required actions shows the question; who may answer it, Airflow decides.  While it waits for a
    trial, the gate goes on watching it and renews its lease: a FAIL ends the wait at once.  Nobody's answer is a no.
    An approval holds for the decision that it was shown for: another word of the gate needs another one.
    Returns ``{run_id, generation, by, reason}``.

    :param run_id: The run. (templated)
    :param approval: For how long and whom to ask.
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    :param policy: The policy file of the trial; default: ``RELEASE_POLICY``. (templated)
    :param only_if: Pairs of a value and what it must be, as text; else nobody is asked. (templated)
    :param conn_id: The connection of the recommendation API, where the lease is renewed.
    :param lease_seconds: How long the lease is renewed for.
    :param poke_interval: Seconds between two looks at the trial.
    """

    template_fields: Sequence[str] = ("subject", "body", "run_id", "release_id", "policy", "only_if")
    operator_extra_links = (ModelsLink(),)
    ui_color = "#f6e7c1"

    def __init__(
        self,
        *,
        run_id: Any,
        approval: Approval,
        release_id: str | None = None,
        policy: str | None = None,
        only_if: Sequence[tuple[object, object]] = (),
        conn_id: str = DEFAULT_CONN_ID,
        lease_seconds: int = DEFAULT_LEASE_SECONDS,
        poke_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        reason = Param("", type=["null", "string"], maxLength=_REASON, title="Why", description="Stands in the ledger.")
        super().__init__(
            subject="May this run become current?",
            options=[APPROVE, DECLINE],
            params={"reason": reason},
            **kwargs,
        )
        self.run_id = run_id
        self.approval = approval
        self.release_id = release_id
        self.policy = policy
        self.only_if = only_if
        self.conn_id = conn_id
        self.lease_seconds = lease_seconds
        self.poke_interval = poke_interval

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, unless that decision was approved of already."""
        pass_over_unless(self.only_if)
        stores, release_id = Stores.from_environment(), release_id_of(context, optional_text(self.release_id))
        with decisions_fail():
            entries = stores.ledger.read()
            generation = passed_at(entries, release_id=release_id, run_id=self.run_id)
            known = approved(entries, release_id=release_id, run_id=self.run_id)
            if known is not None:
                return self._receipt(known)
            asked = _Asked(generation, decision_of(entries, release_id=release_id))
            since = self._ask(context, stores, release_id, asked)
            deadline = since.timestamp() + self.approval.hours * 3600
            self._go_on(context, stores, asked, deadline, started_at=time.time())
        raise AssertionError("it has deferred, or failed")

    def execute_complete(
        self,
        context: Mapping[str, Any],
        event: dict[str, Any] | None = None,
        deadline: float = 0.0,
        generation: int = -1,
        decision: str | None = None,
    ) -> dict[str, Any]:
        """Take the answer, or see why the wait ended."""
        stores, asked = Stores.from_environment(), _Asked(generation, decision)
        with decisions_fail():
            parsed = parse_approval_event(event)
            match parsed["status"]:
                case "answered":
                    return self._answered(context, stores, parsed, asked)
                case "timed_out":
                    self._decline(context, stores, asked, f"nobody answered in {self.approval.hours:g} hours")
                case "moved" | "refused" | "unable":
                    self._decline(context, stores, asked, f"the trial can't go on: {parsed['reason']}")
                case "rejecting":
                    self._go_on(context, stores, asked, deadline, started_at=parsed["passed_at"])
                case status:
                    assert_never(status)
        raise AssertionError("it has deferred, or failed")

    def _ask(self, context: Mapping[str, Any], stores: Stores, release_id: str, asked: _Asked) -> dt.datetime:
        """Put the question to Airflow, and tell people; return since when it is asked."""
        found = [read_decision(stores.paths, release_id, stage) for stage in _STAGES]
        decisions = [decision for decision in found if decision is not None and decision.run_id == self.run_id]
        question = question_about(decisions, run_id=self.run_id, release_id=release_id, link=dag_run_link(context))
        ask(
            question,
            ti_id=context["ti"].id,
            options=self.options,
            params=self.serialized_params,
            assigned_users=self.approval.assigned_users,
        )
        since = asked_since(stores.ledger.read(), release_id=release_id, run_id=self.run_id)
        if since is None:
            entry = self._entry(context, Event.APPROVAL_ASKED, asked, f"for {self.approval.hours:g} hours")
            stores.ledger.append(entry)
            since = entry.at
        if self.approval.tell:
            message = approval_wanted(
                decisions, release_id=release_id, run_id=self.run_id, since=since, link=self._link(context)
            )
            tell_once(stores, message, release_id=release_id, by=actor(context), log=self.log)
        return since

    def _look(self, context: Mapping[str, Any], stores: Stores, asked: _Asked, *, started_at: float) -> Look | None:
        """Look at the trial of this release; None: there is none to watch.  A trial that is to be rejected is."""
        release_id = release_id_of(context, optional_text(self.release_id))
        registry = stores.registry.read()
        if registry.generation != asked.generation:
            self._decline(context, stores, asked, f"the registry has moved on to generation {registry.generation}")
        if registry.candidate is None or registry.candidate.release_id != release_id:
            return None
        from model_release_airflow.gate_word import speak
        from model_release_airflow.look import Asked, look

        question = Asked(self.run_id, release_id, "online", optional_text(self.policy))
        seen = look(stores.paths, question, started_at=started_at)
        if seen.outcome == "reject":
            speak(stores, seen, by=actor(context))
            raise GateRejectedError(f"while a person was asked: {seen.decision.summary}")
        return seen

    def _go_on(
        self, context: Mapping[str, Any], stores: Stores, asked: _Asked, deadline: float, *, started_at: float
    ) -> NoReturn:
        """Wait for the answer, unless the trial is to be rejected."""
        seen = self._look(context, stores, asked, started_at=started_at)
        trial = seen.trial if seen is not None else None
        left = max(0.0, deadline - time.time())
        self.log.info("asking a person, for up to %.0f s, without a worker slot", left)
        self.defer(
            trigger=ApprovalTrigger(
                ti_id=str(context["ti"].id),
                watched=seen is not None,
                run_id=self.run_id,
                release_id=release_id_of(context, optional_text(self.release_id)),
                policy=optional_text(self.policy),
                started_at=started_at,
                poll_seconds=self.poke_interval,
                deadline=deadline,
                conn_id=self.conn_id,
                generation=asked.generation,
                lease_seconds=self.lease_seconds,
                lease_until=_lease_until(trial),
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline, "generation": asked.generation, "decision": asked.decision},
            timeout=dt.timedelta(seconds=left + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _answered(
        self, context: Mapping[str, Any], stores: Stores, event: ApprovalEvent, asked: _Asked
    ) -> dict[str, Any]:
        """Take a person's answer; a yes only if nothing has changed since they were asked."""
        user = event["responded_by_user"] or {}
        reason = str(event["params_input"].get("reason") or "")[:_REASON]
        if event["chosen_options"] != [APPROVE]:
            self._decline(context, stores, asked, reason or "without a reason", user=user)
        self._look(context, stores, asked, started_at=time.time())  # the triggerer may have been away
        entry = self._entry(context, Event.APPROVED, asked, reason, user=user)
        stores.ledger.append(entry)
        check_approved(stores.ledger.read(), release_id=entry.release_id, run_id=self.run_id)
        self.log.info("approved by %s: %s", entry.details["who"], reason or "without a reason")
        return self._receipt(entry)

    def _decline(
        self,
        context: Mapping[str, Any],
        stores: Stores,
        asked: _Asked,
        reason: str,
        *,
        user: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        said = f"declined by {_name(user)}: {reason}" if user else reason
        for event in (Event.DECLINED, Event.REJECTED):
            stores.ledger.append(self._entry(context, event, asked, said, user=user))
        raise GateRejectedError(said)

    def _entry(
        self,
        context: Mapping[str, Any],
        event: Event,
        asked: _Asked,
        reason: str,
        *,
        user: Mapping[str, Any] | None = None,
    ) -> LedgerEntry:
        who = {"who": _name(user), "user_id": str(user.get("id"))} if user else {}
        return LedgerEntry(
            at=utc_now(),
            event=event,
            release_id=release_id_of(context, optional_text(self.release_id)),
            by=f"{actor(context)}, answered by {_name(user)}" if user else actor(context),
            run_id=self.run_id,
            generation=asked.generation,
            reason=reason,
            details={**decision_details(asked.decision), **who},
        )

    def _receipt(self, entry: LedgerEntry) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "generation": entry.generation,
            "by": entry.details.get("who"),
            "reason": entry.reason,
        }

    def _link(self, context: Mapping[str, Any]) -> str:
        """Return the address of the page where the question is answered."""
        base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
        return self.generate_link_to_ui(task_instance=context["ti"], base_url=base)


def _lease_until(trial: TrialFacts | None) -> float | None:
    return None if trial is None or trial.lease_until is None else trial.lease_until.timestamp()


def _name(user: Mapping[str, Any] | None) -> str:
    return "nobody" if user is None else str(user.get("name") or user.get("id"))
