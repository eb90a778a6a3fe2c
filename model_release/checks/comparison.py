"""Is the candidate not worse than the current run by the margin or more, on the same users?

PASS iff the lower confidence bound of the mean difference lies above -margin; FAIL iff the upper one lies below it;
in between the data can't tell: INCONCLUSIVE.  With a relative margin r the tested mean is that of
candidate - (1 - r) * current per user, so that the uncertainty of the current mean counts too.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from model_release import statistics
from model_release.checks.results import result, unmeasured
from model_release.evidence import Evaluation, Evidence, Missing, Paired, PerUser
from model_release.policy import ALL, NonInferiorityPolicy, Slice, SuperiorityPolicy
from model_release.statistics import Interval
from model_release.verdict import CheckResult, Verdict


def check(
    policy: NonInferiorityPolicy | SuperiorityPolicy, evidence: Evidence, *, on_no_baseline: Literal["pass", "fail"]
) -> tuple[CheckResult, ...]:
    """Compare candidate and current for each slice; without a current run answer as ``on_no_baseline`` says."""
    if isinstance(policy, SuperiorityPolicy):
        raise NotImplementedError
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


def incomparable(evidence: Evidence, evaluation: Evaluation) -> str | None:
    """Return why the evaluation is no comparison with the run that is current now; None: it is one."""
    current = evidence.current_run_id
    if evaluation.against is not None and evaluation.against != current:
        return f"evaluated against {evaluation.against!r}, but current is now {current!r}: evaluate again"
    if not evaluation.comparable:
        return f"no comparison with the current run {current!r}: {evaluation.against_reason}"
    registered = None if isinstance(evidence.registry, Missing) else evidence.registry.current_manifest_sha256
    if registered is not None and evaluation.current_manifest_sha256 != registered:
        return f"the files of {current!r} that were evaluated are not those that were registered: evaluate again"
    return None


def _slice(policy: NonInferiorityPolicy, per_user: PerUser, part: Slice) -> CheckResult:
    subject = policy.metric if part == Slice() else f"{policy.metric} ({part.label})"
    paired = per_user.paired(policy.metric, part)
    if paired is None:
        names = ", ".join(sorted(set(per_user.candidate) & set(per_user.current))) or "none"
        reason = f"no values of {policy.metric!r} for both runs; there are: {names}"
        return result(policy, Verdict.ERROR, reason, subject=subject, settled=True)
    problem = _unusable(per_user, paired, part)
    if problem is not None:
        return result(policy, Verdict.ERROR, problem, subject=subject, samples=len(paired.users), settled=True)
    n = len(paired.users)
    if n < policy.minimum_users:
        reason = f"{n} users, at least {policy.minimum_users} are needed: {policy.minimum_users - n} more"
        return result(
            policy,
            Verdict.INCONCLUSIVE,
            reason,
            subject=subject,
            samples=n,
            minimum_samples=policy.minimum_users,
            settled=True,
        )
    return _compare(policy, paired, subject)


def _unusable(per_user: PerUser, paired: Paired, part: Slice) -> str | None:
    """Return why the values of a slice can't be compared; None: they can."""
    for wanted, found, what in (
        (part.users, per_user.user_slices, "user slice"),
        (part.items, per_user.item_slices, "item slice"),
    ):
        known = sorted({str(name) for name in np.unique(found)})
        if wanted not in known and not (what == "user slice" and wanted == ALL):
            return f"no {what} {wanted!r} in the evaluation; there are: {', '.join(known) or 'none'}"
    repeats = len(paired.users) - len(np.unique(paired.users))
    if repeats:
        return f"{repeats} of {len(paired.users)} rows repeat a user: one user is one observation"
    broken = int((~np.isfinite(paired.candidate) | ~np.isfinite(paired.current)).sum())
    if broken:
        return f"{broken} of {len(paired.users)} users lack a finite value for one of the runs: not the same users"
    return None


def _compare(policy: NonInferiorityPolicy, paired: Paired, subject: str) -> CheckResult:
    candidate, current = float(paired.candidate.mean()), float(paired.current.mean())
    margin = policy.margin if policy.margin is not None else (policy.relative_margin or 0.0) * current
    if not margin > 0.0:
        reason = f"the current mean is {current:g}: a margin relative to it is no margin; give an absolute one"
        return result(policy, Verdict.ERROR, reason, subject=subject, samples=len(paired.users), settled=True)
    interval = _interval(policy, paired).shifted(-margin)
    verdict = _verdict(interval, margin)
    effect = statistics.detectable_effect(interval, confidence=policy.confidence, power=policy.power)
    needed = statistics.users_needed(interval, margin, confidence=policy.confidence, power=policy.power)
    return result(
        policy,
        verdict,
        _reason(policy, verdict, interval, margin, candidate, current, effect, needed),
        subject=subject,
        value=interval.mean,
        limit=-margin,
        direction="at_least",
        interval=(interval.lower, interval.upper),
        samples=interval.n,
        minimum_samples=policy.minimum_users,
        settled=True,
        details={
            "candidate_mean": candidate,
            "current_mean": current,
            "margin": margin,
            "relative_margin": policy.relative_margin,
            "confidence": policy.confidence,
            "method": policy.method,
            "resamples": policy.bootstrap_resamples if policy.method == "bootstrap" else None,
            "standard_error": interval.standard_error,
            "minimum_detectable_effect": effect,
            "power": policy.power,
            "users_needed": needed,
        },
    )


def _interval(policy: NonInferiorityPolicy, paired: Paired) -> Interval:
    """Return the interval of the mean difference plus the margin: what must lie above zero."""
    if policy.margin is not None:
        contrast = paired.candidate - paired.current + policy.margin
    else:
        contrast = paired.candidate - (1.0 - (policy.relative_margin or 0.0)) * paired.current
    match policy.method:
        case "t":
            return statistics.t_interval(contrast, policy.confidence)
        case "bootstrap":
            return statistics.bootstrap_interval(
                contrast, policy.confidence, resamples=policy.bootstrap_resamples, seed=policy.seed or 0
            )


def _verdict(interval: Interval, margin: float) -> Verdict:
    if interval.lower > -margin:
        return Verdict.PASS
    if interval.upper < -margin:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _reason(
    policy: NonInferiorityPolicy,
    verdict: Verdict,
    interval: Interval,
    margin: float,
    candidate: float,
    current: float,
    effect: float,
    needed: int | None,
) -> str:
    means = f"{candidate:.4f} against {current:.4f}"
    sure = f"with {100 * policy.confidence:.5g} % confidence"
    match verdict:
        case Verdict.PASS:
            return f"{means}: {sure} the difference is above {interval.lower:+.4f}, allowed is {-margin:+.4f}"
        case Verdict.FAIL:
            return f"{means}: {sure} the difference is below {interval.upper:+.4f}, allowed is {-margin:+.4f}"
        case _:
            enough = needed is not None and needed <= interval.n
            users = (
                f"{interval.n} users would show an equal run to be one, so it is likely worse by about the margin"
                if enough
                else f"{interval.n} users tell differences of {effect:.4f}, the margin needs {needed} users"
            )
            return (
                f"{means}: the difference is between {interval.lower:+.4f} and {interval.upper:+.4f} (each bound {sure}), "
                f"allowed is {-margin:+.4f}; {users}"
            )
