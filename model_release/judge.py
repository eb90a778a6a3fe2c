"""The gate: policy and evidence in, decision out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, assert_never

from model_release import __version__
from model_release.checks import absolute, artifact, data_quality, freshness, latch, non_inferiority
from model_release.errors import InvalidInputError
from model_release.evidence import Evidence, Missing
from model_release.policy import (
    AbsolutePolicy,
    AnyCheck,
    Budgets,
    DataQualityPolicy,
    FreshnessPolicy,
    NonInferiorityPolicy,
    Policy,
)
from model_release.verdict import CheckResult, Decision, Verdict, worst

Outcome = Literal["release", "wait", "reject"]


def judge(policy: Policy, evidence: Evidence, now: dt.datetime) -> Decision:
    """Decide whether a run may be released.  Pure: the same arguments give the same decision.

    Args:
        policy: what is demanded.
        evidence: what is known; see ``model_release.adapters.evidence.collect``.
        now: the time, with its zone.

    Raises:
        InvalidInputError: nothing was checked, or ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise InvalidInputError(f"the time {now} has no zone: ages can't be measured with it")
    results = _results(policy, evidence, now)
    verdict = worst(result.blocking for result in results)
    return Decision(
        verdict=verdict,
        run_id=evidence.run_id,
        against=evidence.current_run_id,
        no_baseline=evidence.no_baseline,
        release_id=evidence.release_id,
        generation=None if isinstance(evidence.registry, Missing) else evidence.registry.generation,
        decided_at=now,
        policy_name=policy.name,
        policy_sha256=policy.sha256,
        code_version=__version__,
        results=results,
        summary=_summary(verdict, evidence, results),
        evidence=evidence.files,
    )


def outcome(decision: Decision, *, started_at: dt.datetime, now: dt.datetime, budgets: Budgets) -> Outcome:
    """Say what to do about a decision: release, look again later, or reject.

    PASS releases and FAIL rejects.  In between it is worth waiting only for evidence that may still come: a result
    whose evidence is ``settled`` and that is not PASS can never become one, so the run is rejected at once.  Else
    the wait ends, with a rejection, when the budget of the verdict is spent; both budgets count from ``started_at``,
    so that a waiter that was restarted needs no memory of earlier polls.
    """
    match decision.verdict:
        case Verdict.PASS:
            return "release"
        case Verdict.FAIL:
            return "reject"
        case Verdict.ERROR:
            budget = budgets.error
        case Verdict.INCONCLUSIVE:
            budget = budgets.inconclusive
        case _:
            assert_never(decision.verdict)
    if any(result.settled and result.blocking is not Verdict.PASS for result in decision.results):
        return "reject"
    return "wait" if now - started_at < budget else "reject"


def _results(policy: Policy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    always = (latch.check(evidence), artifact.check(evidence))
    asked: list[CheckResult] = []
    for check in policy.checks:
        results = _made(check, policy, evidence, now)
        if not results:
            raise InvalidInputError(f"check {check.name!r} looked at nothing: that is not a pass")
        asked.extend(results)
    return (*always, *asked)


def _made(check: AnyCheck, policy: Policy, evidence: Evidence, now: dt.datetime) -> Sequence[CheckResult]:
    match check:
        case DataQualityPolicy():
            return data_quality.check(check, evidence)
        case FreshnessPolicy():
            return freshness.check(check, evidence, now)
        case AbsolutePolicy():
            return absolute.check(check, evidence)
        case NonInferiorityPolicy():
            return non_inferiority.check(check, evidence, on_no_baseline=policy.on_no_baseline)
        case _:
            assert_never(check)


def _summary(verdict: Verdict, evidence: Evidence, results: Sequence[CheckResult]) -> str:
    against = f"against {evidence.current_run_id}" if evidence.current_run_id else "against an unknown run"
    head = f"{verdict.upper()}: run {evidence.run_id} {'with no_baseline' if evidence.no_baseline else against}"
    if verdict is Verdict.PASS:
        return f"{head}: all {len(results)} results passed or are dry runs"
    worst_ones = [result for result in results if result.blocking is verdict]
    first = worst_ones[0]
    name = f"{first.check} ({first.subject})" if first.subject else first.check
    more = f" (and {len(worst_ones) - 1} more)" if len(worst_ones) > 1 else ""
    return f"{head}: {name}: {first.reason}{more}"
