"""The gate as a task: it judges in the worker, and waits without one."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, assert_never

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from model_release.adapters.decisions import write_decision
from model_release.adapters.evidence import collect
from model_release.adapters.evidence_files import fingerprint
from model_release.contract import utc_now
from model_release.judge import judge, outcome
from model_release.ledger import Event, LedgerEntry
from model_release.phases import decision_entry, record
from model_release.policy import default_policy_path, load_policy
from model_release.report import plain
from model_release.verdict import Decision, Verdict
from model_release_airflow.context import Stores, actor, decisions_fail, optional_text, release_id_of
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.triggers.evidence import EvidenceTrigger, parse_evidence_event

_GRACE_SECONDS = 60.0


class QualityGateSensor(BaseSensorOperator):
    """Let a run pass, wait for evidence that may still come, or stop the release.

    Judges the policy on what data quality, evaluation and registry say.  PASS succeeds, with the decision as the
    task's value; FAIL fails at once, without retries; ERROR and INCONCLUSIVE wait in the triggerer for evidence to
    change, as long as the policy's budgets allow, if it can change at all.  ``soft_fail`` is refused: a gate that
    crashes is not a gate that may be passed over.

    :param run_id: The run to judge. (templated)
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    :param policy: The policy file; default: ``RELEASE_POLICY``, else ``config/release_policy.yaml``. (templated)
    :param on_reject: ``fail`` the task, or ``skip`` it and what comes after.
    """

    template_fields: Sequence[str] = ("run_id", "release_id", "policy")
    ui_color = "#f6e7c1"

    def __init__(
        self,
        *,
        run_id: str,
        release_id: str | None = None,
        policy: str | None = None,
        on_reject: Literal["fail", "skip"] = "fail",
        poke_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.run_id = run_id
        self.release_id = release_id
        self.policy = policy
        self.on_reject = on_reject

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Judge; defer only if the decision says wait."""
        if self.soft_fail or self.never_fail:
            raise AirflowFailException("soft_fail and never_fail do not go with a gate; use on_reject='skip'")
        return self._look(context, started_at=time.time())

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge again: the evidence changed, or the budget is spent."""
        with decisions_fail():
            parsed = parse_evidence_event(event)
        return self._look(context, started_at=parsed["started_at"])

    def _look(self, context: Mapping[str, Any], *, started_at: float) -> dict[str, Any]:
        stores = Stores.from_environment()
        release_id = release_id_of(context, optional_text(self.release_id))
        policy_path = optional_text(self.policy)
        with decisions_fail():
            policy = load_policy(Path(policy_path) if policy_path else default_policy_path())
            seen = fingerprint(stores.paths, self.run_id)  # before the files are read: a later change is noticed
            now = utc_now()
            decision = judge(policy, collect(stores.paths, policy, self.run_id, release_id), now)
            began = dt.datetime.fromtimestamp(started_at, dt.UTC)
            said = outcome(decision, started_at=began, now=now, budgets=policy.budgets)
            if said != "wait":
                self._keep(context, stores, decision, release_id)
        self._print(decision)
        match said:
            case "release":
                receipt = decision.model_dump(mode="json")
            case "reject":
                self._reject(decision)
            case "wait":
                budget = policy.budgets.error if decision.verdict is Verdict.ERROR else policy.budgets.inconclusive
                self._wait(seen, started_at, deadline=started_at + budget.total_seconds())
            case _:
                assert_never(said)
        return receipt

    def _keep(self, context: Mapping[str, Any], stores: Stores, decision: Decision, release_id: str) -> None:
        write_decision(stores.paths, decision)
        spoken = decision_entry(decision, release_id=release_id, by=actor(context))
        record(stores.ledger, spoken)
        if not decision.released:
            rejected = LedgerEntry(**{**spoken.model_dump(), "event": Event.REJECTED})
            record(stores.ledger, rejected)

    def _reject(self, decision: Decision) -> NoReturn:
        match self.on_reject:
            case "fail":
                raise GateRejectedError(decision.summary)
            case "skip":
                raise AirflowSkipException(decision.summary)
            case _:
                assert_never(self.on_reject)

    def _wait(self, seen: str, started_at: float, *, deadline: float) -> NoReturn:
        self.log.info("waiting up to %.0f s for evidence to change, without a worker slot", deadline - time.time())
        self.defer(
            trigger=EvidenceTrigger(
                run_id=self.run_id,
                known=seen,
                started_at=started_at,
                poll_seconds=self.poke_interval,
                deadline=deadline,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=max(0.0, deadline - time.time()) + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _print(self, decision: Decision) -> None:
        for line in plain(decision).splitlines():
            self.log.info("%s", line)
