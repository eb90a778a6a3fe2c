"""What a comparison tests: that a mean over users lies above zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_release.evidence import Floats, Paired, PerUser
from model_release.policy import ALL, NonInferiorityPolicy, Slice, SuperiorityPolicy


@dataclass(frozen=True)
class Contrast:
    """The values of one metric in one slice, so combined per user that their mean is the mean difference - limit.

    With a limit relative to the current mean the current values themselves are part of the combination, so that the
    uncertainty of their mean counts too.

    Attributes:
        values: (n,), finite.
        limit: what the mean difference, candidate - current, is held against, in units of the metric.
        candidate_mean: mean of the candidate's values.
        current_mean: mean of the current run's values.
    """

    values: Floats
    limit: float
    candidate_mean: float
    current_mean: float


def contrast_of(policy: NonInferiorityPolicy | SuperiorityPolicy, paired: Paired) -> Contrast | None:
    """Return the contrast that a policy tests; None: its limit is a share of a mean that is not positive."""
    absolute, relative = limits(policy)
    candidate, current = float(paired.candidate.mean()), float(paired.current.mean())
    if absolute is not None:
        return Contrast(paired.candidate - paired.current - absolute, absolute, candidate, current)
    if relative != 0.0 and not current > 0.0:
        return None
    return Contrast(paired.candidate - (1.0 + relative) * paired.current, relative * current, candidate, current)


def limits(policy: NonInferiorityPolicy | SuperiorityPolicy) -> tuple[float | None, float]:
    """Return the limit of the mean difference in units of the metric, or None and its share of the current mean."""
    match policy:
        case NonInferiorityPolicy():
            if policy.margin is not None:
                return -policy.margin, 0.0
            return None, -(policy.relative_margin or 0.0)
        case SuperiorityPolicy():
            return policy.gain, policy.relative_gain or 0.0


def not_measured(per_user: PerUser, metric: str) -> str:
    """Say which metrics were measured for both runs, where ``metric`` was not."""
    names = ", ".join(sorted(set(per_user.candidate) & set(per_user.current))) or "none"
    return f"no values of {metric!r} for both runs; there are: {names}"


def not_paired(per_user: PerUser, paired: Paired, part: Slice) -> str | None:
    """Return why ``paired`` values of a slice can't be compared, user by user; None: they can."""
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
    return _missing_users(paired)


def _missing_users(paired: Paired) -> str | None:
    """Say how many users lack a value, and for which run: those that have both would not be the same users."""
    candidate, current = np.isfinite(paired.candidate), np.isfinite(paired.current)
    if (candidate & current).all():
        return None
    only_candidate, only_current = int((candidate & ~current).sum()), int((~candidate & current).sum())
    neither = int((~candidate & ~current).sum())
    return (
        f"{only_candidate + only_current + neither} of {len(paired.users)} users lack a finite value: {only_candidate} "
        f"have one for the candidate only, {only_current} for the current run only, {neither} for neither; the rest "
        "would not be the same users"
    )
