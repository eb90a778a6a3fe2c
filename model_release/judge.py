"""The gate: policy and evidence in, decision out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal, assert_never

from model_release import __version__
from model_release.checks import (
    absolute,
    alerts,
    artifact,
    comparison,
    data_quality,
    freshness,
    latch,
    latency,
    query,
    ratio,
    reconciliation,
    replicas,
    sample_ratio,
    trial,
)
from model_release.checks.trials import TrialView
from model_release.errors import InvalidInputError
from model_release.evidence import Evidence, Missing
from model_release.policy import (
    AbsolutePolicy,
    AlertsPolicy,
    AnyCheck,
    Budgets,
    DataQualityPolicy,
    FreshnessPolicy,
    LatencyPolicy,
    NonInferiorityPolicy,
    OnlineCheckPolicy,
    OnlinePolicy,
    Policy,
    QueryPolicy,
    RatioPolicy,
    ReconciliationPolicy,
    SampleRatioPolicy,
    Stage,
    SuperiorityPolicy,
)
from model_release.verdict import CheckResult, Decision, Verdict, worst

Outcome = Literal["release", "wait", "reject"]


def judge(policy: Policy, evidence: Evidence, now: dt.datetime, stage: Stage = "offline") -> Decision:
    """Decide whether a run may go on.  Pure: the same arguments give the same decision.

    Args:
        policy: what is demanded.
        evidence: what is known; see ``model_release.adapters.evidence.collect``.
        now: the time, with its zone.
        stage: ``offline``, before a trial, or ``online``, during it.

    Raises:
        InvalidInputError: nothing was checked, ``now`` has no zone, or the policy has nothing for this stage.
    """
    if now.tzinfo is None:
        raise InvalidInputError(f"the time {now} has no zone: ages can't be measured with it")
    results = _offline(policy, evidence, now) if stage == "offline" else _online(policy, evidence, now)
    verdict = worst(result.blocking for result in results)
    return Decision(
        stage=stage,
        verdict=verdict,
        run_id=evidence.run_id,
        against=evidence.current_run_id,
        no_baseline=evidence.no_baseline,
        release_id=evidence.release_id,
        generation=None if isinstance(evidence.registry, Missing) else evidence.registry.generation,
        decided_at=now,
        measured_at=evidence.measured_at if verdict is Verdict.ERROR else now,
        policy_name=policy.name,
        policy_sha256=policy.sha256,
        code_version=__version__,
        results=results,
        summary=_summary(verdict, evidence, results),
        evidence=evidence.files,
    )


def budgets_of(policy: Policy, stage: Stage) -> Budgets:
    """Return how long a gate of this stage may wait.

    Raises:
        InvalidInputError: the policy has nothing for this stage.
    """
    return policy.budgets if stage == "offline" else _online_policy(policy).budgets


def outcome(decision: Decision, *, started_at: dt.datetime, now: dt.datetime, budgets: Budgets) -> Outcome:
    """Say what to do about a decision: release, look again later, or reject.

    PASS releases and FAIL rejects.  In between it is worth waiting only for evidence that may still come: a result
    whose evidence is ``settled`` and that is not PASS can never become one, so the run is rejected at once.  Else the
    wait ends, with a rejection, at :func:`deadline`.
    """
    match decision.verdict:
        case Verdict.PASS:
            return "release"
        case Verdict.FAIL:
            return "reject"
        case Verdict.ERROR | Verdict.INCONCLUSIVE:
            pass
        case _:
            assert_never(decision.verdict)
    if any(result.settled and result.blocking is not Verdict.PASS for result in decision.results):
        return "reject"
    return "wait" if now < deadline(decision, started_at=started_at, budgets=budgets) else "reject"


def deadline(decision: Decision, *, started_at: dt.datetime, budgets: Budgets) -> dt.datetime:
    """Return when the wait for better evidence ends.

    The budget of INCONCLUSIVE counts from ``started_at``, that of ERROR from the last time that everything could be
    measured, which the decision itself tells, and ends with the other one at the latest: a waiter that was restarted
    needs no memory of earlier polls.
    """
    last = started_at + max(budgets.inconclusive, budgets.error)
    if decision.verdict is not Verdict.ERROR:
        return started_at + budgets.inconclusive
    measured = max(started_at, decision.measured_at or started_at)
    return min(measured + budgets.error, last)


def _offline(policy: Policy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    found = [latch.check(evidence), artifact.check(evidence)]
    comparisons = [check for check in policy.checks if isinstance(check, NonInferiorityPolicy | SuperiorityPolicy)]
    compared = comparison.check_all(comparisons, evidence, on_no_baseline=policy.on_no_baseline)
    for check in policy.checks:
        found += _looked(check, _made(check, evidence, now, compared=compared))
    return tuple(found)


def _online(policy: Policy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    asked = _online_policy(policy)
    found = [latch.check(evidence), artifact.check(evidence), trial.check(evidence, now)]
    online = evidence.online
    if online is None or isinstance(online.trial, Missing):
        return tuple(found)  # the check of the trial has said why, and it is no PASS
    found.append(replicas.check(asked, online, now))
    view = TrialView(policy=asked, trial=online.trial, online=online, now=now)
    made = [check for check in asked.checks if not _left_out(check, online.trial.mode)]
    if not any(isinstance(check, OnlineCheckPolicy) and check.blocks for check in made):
        raise InvalidInputError(f"the policy {policy.name!r} has no check that blocks for mode {online.trial.mode!r}")
    for check in made:
        found += _looked(check, _made(check, evidence, now, view=view))
    return tuple(found)


def _online_policy(policy: Policy) -> OnlinePolicy:
    if policy.online is None:
        raise InvalidInputError(f"the policy {policy.name!r} has no online section: it can't judge a trial")
    return policy.online


def _left_out(check: AnyCheck, mode: str) -> bool:
    return isinstance(check, OnlineCheckPolicy) and mode not in check.modes


def _looked(check: AnyCheck, results: Sequence[CheckResult]) -> Sequence[CheckResult]:
    if not results:
        raise InvalidInputError(f"check {check.name!r} looked at nothing: that is not a pass")
    return results


def _made(
    check: AnyCheck,
    evidence: Evidence,
    now: dt.datetime,
    *,
    compared: Mapping[str, Sequence[CheckResult]] | None = None,
    view: TrialView | None = None,
) -> Sequence[CheckResult]:
    match check:
        case DataQualityPolicy():
            return data_quality.check(check, evidence)
        case FreshnessPolicy():
            return freshness.check(check, evidence, now)
        case AbsolutePolicy():
            return absolute.check(check, evidence)
        case NonInferiorityPolicy() | SuperiorityPolicy():
            return (compared or {}).get(check.name, ())  # made together: they share their resamples
        case AlertsPolicy() | ReconciliationPolicy():
            return _of_surroundings(check, evidence, now)
        case RatioPolicy() | LatencyPolicy() | SampleRatioPolicy() | QueryPolicy():
            return _of_trial(check, view)
        case _:
            assert_never(check)


def _of_surroundings(
    check: AlertsPolicy | ReconciliationPolicy, evidence: Evidence, now: dt.datetime
) -> Sequence[CheckResult]:
    match check:
        case AlertsPolicy():
            return alerts.check(check, evidence, now)
        case ReconciliationPolicy():
            return reconciliation.check(check, evidence, now)
        case _:
            assert_never(check)


def _of_trial(
    check: RatioPolicy | LatencyPolicy | SampleRatioPolicy | QueryPolicy, view: TrialView | None
) -> Sequence[CheckResult]:
    if view is None:
        raise InvalidInputError(f"check {check.name!r} is about a trial, but there is none")
    match check:
        case RatioPolicy():
            return ratio.check(check, view)
        case LatencyPolicy():
            return latency.check(check, view)
        case SampleRatioPolicy():
            return sample_ratio.check(check, view)
        case QueryPolicy():
            return query.check(check, view)
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
