"""What a comparison says of its numbers: to people as a reason, to machines as details."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_release import statistics
from model_release.checks.contrast import Contrast
from model_release.policy import NonInferiorityPolicy, SuperiorityPolicy
from model_release.statistics import Interval
from model_release.verdict import Verdict


@dataclass(frozen=True)
class Power:
    """What the users at hand could have shown.

    Attributes:
        effect: non-inferiority: the smallest margin at which an equally good run would pass with the policy's power;
            superiority: the smallest true difference that would.
        users: with how many users a run would pass with that power: an equally good one (non-inferiority), one that is
            better by as much as was measured (superiority).  None: with no number of them.
    """

    effect: float
    users: int | None

    @classmethod
    def of(cls, policy: NonInferiorityPolicy | SuperiorityPolicy, contrast: Contrast, above_limit: Interval) -> Power:
        """Compute it from the interval of the mean difference - limit."""
        reach = statistics.detectable_effect(above_limit, confidence=policy.confidence, power=policy.power)
        match policy:
            case NonInferiorityPolicy():
                effect, distance = reach, -contrast.limit
            case SuperiorityPolicy():
                effect, distance = contrast.limit + reach, above_limit.mean
        users = statistics.users_needed(above_limit, distance, confidence=policy.confidence, power=policy.power)
        return cls(effect, users)


@dataclass(frozen=True)
class Numbers:
    """All numbers of one slice; ``interval`` is that of the mean difference, candidate - current."""

    policy: NonInferiorityPolicy | SuperiorityPolicy
    contrast: Contrast
    interval: Interval
    p_below: float
    p_below_adjusted: float
    power: Power

    def details(self) -> dict[str, Any]:
        """Return what stands in the decision beside value, limit and interval."""
        policy = self.policy
        return {
            "candidate_mean": self.contrast.candidate_mean,
            "current_mean": self.contrast.current_mean,
            "confidence": policy.confidence,
            "method": policy.method,
            "resamples": policy.bootstrap_resamples if policy.method == "bootstrap" else None,
            "standard_error": self.interval.standard_error,
            "p_below": self.p_below,
            "p_below_adjusted": self.p_below_adjusted,
            "slices": len(policy.slices),
            "minimum_detectable_effect": self.power.effect,
            "power": policy.power,
            "users_needed": self.power.users,
        }


def too_few(users: int, minimum: int) -> str:
    """Say how many users are missing to the minimum."""
    return f"{users} users, at least {minimum} are needed: {minimum - users} more"


def no_scale(policy: NonInferiorityPolicy | SuperiorityPolicy, current_mean: float) -> str:
    """Say that a share of the current mean is no limit."""
    what = "margin" if isinstance(policy, NonInferiorityPolicy) else "gain"
    return f"the current mean is {current_mean:g}: a {what} relative to it is no {what}; give an absolute one"


def reason(verdict: Verdict, numbers: Numbers) -> str:
    """Say what was found, and what it was held against."""
    contrast, interval = numbers.contrast, numbers.interval
    means = f"{contrast.candidate_mean:.4f} against {contrast.current_mean:.4f}"
    sure = f"with {100 * numbers.policy.confidence:.5g} % confidence"
    allowed = "allowed" if isinstance(numbers.policy, NonInferiorityPolicy) else "wanted"
    limit = f"{allowed} is {contrast.limit:+.4f}"
    match verdict:
        case Verdict.PASS:
            return f"{means}: {sure} the difference is above {interval.lower:+.4f}, {limit}"
        case Verdict.FAIL:
            return f"{means}: {sure} the difference is below {interval.upper:+.4f}, {limit}"
        case _ if interval.upper < contrast.limit:
            return f"{means}: {sure} the difference is below {interval.upper:+.4f}, {limit}; {_one_of_many(numbers)}"
        case _:
            between = f"between {interval.lower:+.4f} and {interval.upper:+.4f} (each bound {sure})"
            return f"{means}: the difference is {between}, {limit}; {_users(numbers)}"


def _one_of_many(numbers: Numbers) -> str:
    """Say why a slice that looks bad does not fail."""
    slices, alpha = len(numbers.policy.slices), 1.0 - numbers.policy.confidence
    return (
        f"but {slices} slices were looked at, and among so many one may look so by chance: p {numbers.p_below:.2g}, "
        f"{numbers.p_below_adjusted:.2g} after Holm's correction, above {alpha:.2g}"
    )


def _users(numbers: Numbers) -> str:
    """Say whether more users would help, and how many."""
    n, effect, needed = numbers.interval.n, numbers.power.effect, numbers.power.users
    match numbers.policy:
        case NonInferiorityPolicy():
            if needed is not None and needed <= n:
                return f"{n} users would show an equal run to be one, so it is likely worse by about the margin"
            return f"{n} users tell differences of {effect:.4f}, the margin needs {needed} users"
        case SuperiorityPolicy():
            if needed is None:
                return f"the measured difference is no larger than the gain: no number of users would show it; {n} tell {effect:+.4f}"
            return f"{n} users tell {effect:+.4f}; if the true difference is the measured one, {needed} users would show it"
