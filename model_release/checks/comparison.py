"""Is the candidate not worse than the current run by a margin, or better by a gain, on the same users?

Both are one question with another limit, -margin or the gain.  PASS iff the lower confidence bound of the mean difference
lies above the limit; FAIL iff it is below the limit with the same confidence; in between the data can't tell:
INCONCLUSIVE.  Every slice must pass, which needs no correction.  That a slice lies below the limit is a claim made once
per slice, so it is made only if it holds after Holm's correction over the slices of the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from model_release import statistics
from model_release.checks import comparison_reasons as reasons
from model_release.checks.contrast import Contrast, contrast_of, not_measured, not_paired
from model_release.checks.resampling import Asked, Tested, tested
from model_release.checks.results import result, unmeasured
from model_release.evidence import NO_CURRENT, Evaluation, Evidence, Missing, PerUser
from model_release.policy import NonInferiorityPolicy, Slice, SuperiorityPolicy
from model_release.verdict import CheckResult, Verdict

Comparison = NonInferiorityPolicy | SuperiorityPolicy


def check(
    policy: Comparison, evidence: Evidence, *, on_no_baseline: Literal["pass", "fail"]
) -> tuple[CheckResult, ...]:
    """Compare candidate and current for each slice; without a current run answer as ``on_no_baseline`` says."""
    return check_all([policy], evidence, on_no_baseline=on_no_baseline)[policy.name]


def check_all(
    policies: Sequence[Comparison], evidence: Evidence, *, on_no_baseline: Literal["pass", "fail"]
) -> dict[str, tuple[CheckResult, ...]]:
    """Make several checks, each as :func:`check` would, over one set of resamples; return the results by name."""
    prepared = {policy.name: _prepared(policy, evidence, on_no_baseline) for policy in policies}
    found = tested(
        {
            (name, place): each
            for name, parts in prepared.items()
            for place, each in enumerate(parts)
            if isinstance(each, Asked)
        }
    )
    results = {}
    for policy in policies:
        parts = prepared[policy.name]
        measured = {place: found[policy.name, place] for place, each in enumerate(parts) if isinstance(each, Asked)}
        adjusted = statistics.holm([each.p_below for each in measured.values()], family=len(parts))
        claims = dict(zip(measured, adjusted, strict=True))
        results[policy.name] = tuple(
            _compared(policy, evidence, each, measured[place], claims[place]) if isinstance(each, Asked) else each
            for place, each in enumerate(parts)
        )
    return results


def incomparable(evidence: Evidence, evaluation: Evaluation) -> str | None:
    """Return why the evaluation is no comparison with the run that is current now; None: it is one."""
    current = evidence.current_run_id
    if evidence.run_id == current:
        return f"{current!r} is the current run itself: there is nothing to compare it with"
    if evaluation.against is None and evaluation.against_reason == NO_CURRENT and current is not None:
        return f"evaluated when no run was current, but current is now {current!r}: evaluate again"
    if evaluation.against is not None and evaluation.against != current:
        return f"evaluated against {evaluation.against!r}, but current is now {current!r}: evaluate again"
    if not evaluation.comparable:
        return f"no comparison with the current run {current!r}: {evaluation.against_reason}"
    registered = None if isinstance(evidence.registry, Missing) else evidence.registry.current_manifest_sha256
    if registered is not None and evaluation.current_manifest_sha256 != registered:
        return f"the files of {current!r} that were evaluated are not those that were registered: evaluate again"
    return None


def _prepared(
    policy: Comparison, evidence: Evidence, on_no_baseline: Literal["pass", "fail"]
) -> tuple[CheckResult | Asked, ...]:
    """Return what is to be tested for each slice, or the result where there is nothing to test."""
    evaluation, per_user = evidence.evaluation, evidence.per_user
    if isinstance(evidence.registry, Missing):
        return (unmeasured(policy, evidence.registry, subject=policy.metric),)
    if isinstance(evaluation, Missing):
        return (unmeasured(policy, evaluation, subject=policy.metric),)
    if evidence.no_baseline:
        verdict = Verdict.PASS if on_no_baseline == "pass" else Verdict.FAIL
        reason = f"no_baseline: no run is current, nothing to compare with; the policy says {on_no_baseline}"
        return (result(policy, verdict, reason, subject=policy.metric, details={"no_baseline": True}),)
    obstacle = incomparable(evidence, evaluation)
    if obstacle is not None:
        return (result(policy, Verdict.ERROR, obstacle, subject=policy.metric, settled=True),)
    if isinstance(per_user, Missing):
        return (unmeasured(policy, per_user, subject=policy.metric),)
    return tuple(_slice(policy, per_user, part) for part in policy.slices)


def _slice(policy: Comparison, per_user: PerUser, part: Slice) -> CheckResult | Asked:
    paired = per_user.paired(policy.metric, part)
    if paired is None:
        reason = not_measured(per_user, policy.metric)
        return result(policy, Verdict.ERROR, reason, subject=_subject(policy, part), settled=True)
    n = len(paired.users)
    problem = not_paired(per_user, paired, part)
    if problem is not None:
        return result(policy, Verdict.ERROR, problem, subject=_subject(policy, part), samples=n, settled=True)
    if n < policy.minimum_users:
        return result(
            policy,
            Verdict.INCONCLUSIVE,
            reasons.too_few(n, policy.minimum_users),
            subject=_subject(policy, part),
            samples=n,
            minimum_samples=policy.minimum_users,
            settled=True,
        )
    contrast = contrast_of(policy, paired)
    if contrast is None:
        reason = reasons.no_scale(policy, float(paired.current.mean()))
        return result(policy, Verdict.ERROR, reason, subject=_subject(policy, part), samples=n, settled=True)
    return Asked(policy, part, contrast)


def _compared(policy: Comparison, evidence: Evidence, asked: Asked, found: Tested, p_adjusted: float) -> CheckResult:
    contrast = asked.contrast
    verdict = _verdict(found, p_adjusted, 1.0 - policy.confidence)
    interval = found.interval.shifted(contrast.limit)
    power = reasons.Power.of(policy, contrast, found.interval)
    numbers = reasons.Numbers(policy, contrast, interval, found.p_below, p_adjusted, power)
    return result(
        policy,
        verdict,
        reasons.reason(verdict, numbers),
        subject=_subject(policy, asked.part),
        value=interval.mean,
        limit=contrast.limit,
        direction="at_least",
        interval=(interval.lower, interval.upper),
        samples=interval.n,
        minimum_samples=policy.minimum_users,
        settled=True,
        details={**_limit(policy, contrast), **numbers.details(), **_users(evidence)},
    )


def _verdict(found: Tested, p_adjusted: float, alpha: float) -> Verdict:
    if found.interval.lower > 0.0:
        return Verdict.PASS
    if found.interval.upper < 0.0 and p_adjusted <= alpha:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _limit(policy: Comparison, contrast: Contrast) -> dict[str, Any]:
    """Return the limit under the names that the policy has for it."""
    match policy:
        case NonInferiorityPolicy():
            return {"margin": -contrast.limit, "relative_margin": policy.relative_margin}
        case SuperiorityPolicy():
            return {"gain": contrast.limit, "relative_gain": policy.relative_gain}


def _users(evidence: Evidence) -> dict[str, Any]:
    """Return who is not in the comparison, or stands in it without being known to a run."""
    if isinstance(evidence.evaluation, Missing):
        return {}
    return {
        "users_without_interactions": evidence.evaluation.users_without_interactions,
        "unknown_users": dict(evidence.evaluation.unknown_users),
    }


def _subject(policy: Comparison, part: Slice) -> str:
    return policy.metric if part == Slice() else f"{policy.metric} ({part.label})"
