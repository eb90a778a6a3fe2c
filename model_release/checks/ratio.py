"""Is the share of bad answers not larger by the margin or more, candidate against current, or not above a limit?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_release import blocks, sequential
from model_release.blocks import Floats
from model_release.checks import sequence
from model_release.checks.results import unmeasured
from model_release.checks.sequence import Compared, Course, Evidenced
from model_release.checks.trials import TrialView
from model_release.errors import UnmeasurableError
from model_release.evidence import ARMS, Missing, RangeQuery
from model_release.policy import RatioPolicy
from model_release.sequential import Blocks
from model_release.verdict import CheckResult, Verdict

_ROUNDING = 1e-6  # sums of shares, unlike counts, are rounded


@dataclass(frozen=True)
class _Counts:
    """Answers of each arm (one or two) and those that count, block by block; in ``impossible`` ones more did."""

    x: tuple[Floats, ...]
    n: tuple[Floats, ...]
    impossible: int
    minutes: float
    queries: tuple[RangeQuery, ...]

    @property
    def smaller(self) -> Floats:
        """Answers of the arm that has fewer."""
        return min(self.n, key=lambda counted: float(counted.sum()))

    @property
    def totals(self) -> dict[str, list[float]]:
        """Answers of each arm, and those that count."""
        return {"answers": [float(n.sum()) for n in self.n], "counting": [float(x.sum()) for x in self.x]}

    def share(self, arm: int) -> float | None:
        """The share of one arm; None without answers."""
        total = float(self.n[arm].sum())
        return float(self.x[arm].sum()) / total if total > 0.0 else None


def check(policy: RatioPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Compare the shares of both arms, or of the candidate with a limit."""
    try:
        width = sequence.require_blocks(view)
        if not width:
            return (sequence.waiting(policy),)
        counts = _counted(policy, view, width)
    except UnmeasurableError as problem:
        return (unmeasured(policy, Missing(problem.reason, problem.settled)),)
    if policy.margin is None:
        return (_against_limit(policy, view, counts),)
    return (_against_current(policy, view, counts, policy.margin),)


def _counted(policy: RatioPolicy, view: TrialView, width: int) -> _Counts:
    arms = ARMS if policy.margin is not None else ARMS[:1]
    groups = [
        sequence.gathered(view, [RangeQuery(view.trial.filled(selector, arm)) for selector in selectors])
        for arm in arms
        for selectors in (policy.count, policy.of)
    ]
    known = blocks.lives(sequence.chained(groups))
    sequence.require_alive(view, groups, known)
    counted = [blocks.increments(group.series, known, width) for group in groups]
    x, n = counted[0::2], counted[1::2]
    impossible = np.any([some > all_ + _ROUNDING * (1.0 + all_) for some, all_ in zip(x, n, strict=True)], axis=0)
    queries = tuple(dict.fromkeys(query for group in groups for query in group.queries))
    return _Counts(
        tuple(_carried(some, all_) for some, all_ in zip(x, n, strict=True)),
        tuple(n),
        sequence.require_plausible(impossible),
        sequence.measured_minutes(view, known),
        queries,
    )


def _carried(x: Floats, n: Floats) -> Floats:
    """Return ``x`` with what a block counts beyond its answers moved to the next block: (blocks,), at most ``n``.

    A scrape may come between the two counters of one answer.  Were such blocks left out, the worst would be.
    """
    if not (x > n).any():
        return x
    over = np.cumsum(x - n)
    left = over - np.minimum(np.minimum.accumulate(over), 0.0)
    return np.clip(x - np.diff(left, prepend=0.0), 0.0, n)


def course(policy: RatioPolicy, view: TrialView) -> Course:
    """Return the e-processes after every block: what :func:`check` would have seen at each of them.

    Raises:
        UnmeasurableError: the counts can't be made.
    """
    counts = _counted(policy, view, sequence.require_blocks(view))
    return Course(_evidenced(policy, counts), np.min(np.cumsum(counts.n, axis=-1), axis=0))


def _evidenced(policy: RatioPolicy, counts: _Counts) -> Evidenced:
    if policy.margin is None:
        bad, n, allowed = _one_arm(policy, counts)
        return sequence.evidenced(
            policy,
            harm=sequential.log_e_share(bad, n, allowed, "at_most"),
            safe=sequential.log_e_share(bad, n, allowed, "at_least"),
        )
    cut = _two_arms(policy, counts)
    return sequence.evidenced(
        policy,
        harm=sequential.log_e_difference(cut, policy.margin, "at_most", scale=policy.margin),
        safe=sequential.log_e_difference(cut, policy.margin, "at_least", scale=policy.margin),
    )


def _two_arms(policy: RatioPolicy, counts: _Counts) -> Blocks:
    """Return bad answers of both arms: where a lower share is worse, those that do not count."""
    mirrored = policy.worse == "lower"
    bad = [n - x for x, n in zip(counts.x, counts.n, strict=True)] if mirrored else counts.x
    return Blocks(counts.n[0], bad[0], counts.n[1], bad[1]).scaled(policy.cluster_size)


def _one_arm(policy: RatioPolicy, counts: _Counts) -> tuple[Floats, Floats, float]:
    """Return bad answers, all answers and the share of bad ones that is allowed."""
    x, n = counts.x[0] / policy.cluster_size, counts.n[0] / policy.cluster_size
    if policy.at_least is not None:
        return n - x, n, 1.0 - policy.at_least
    assert policy.at_most is not None  # noqa: S101  (the policy has one of the two)
    return x, n, policy.at_most


def _against_current(policy: RatioPolicy, view: TrialView, counts: _Counts, margin: float) -> CheckResult:
    """Judge two arms; where a lower share is worse, by the answers that do not count."""
    mirrored = policy.worse == "lower"
    cut = _two_arms(policy, counts)
    found = _evidenced(policy, counts)
    low, high = sequential.difference_bounds(
        cut, margin, policy.confidence, scale=margin, harm=found.harm, safe=found.safe
    )
    shares = counts.share(0), counts.share(1)
    compared = Compared(
        text=f"{sequence.percent(shares[0])} against {sequence.percent(shares[1])}, difference",
        value=None if shares[0] is None or shares[1] is None else shares[0] - shares[1],
        limit=-margin if mirrored else margin,
        direction="at_least" if mirrored else "at_most",
        interval=(-high, -low) if mirrored else (low, high),
        smaller=counts.smaller,
        impossible=counts.impossible,
        minutes=counts.minutes,
        queries=counts.queries,
        details={"candidate_share": shares[0], "current_share": shares[1], "margin": margin, **counts.totals},
    )
    judged = _judged(policy, view, found, compared)
    return _nothing_to_lose(judged, shares[1], margin) if mirrored else judged


def _nothing_to_lose(judged: CheckResult, current: float | None, margin: float) -> CheckResult:
    """Return the result, but no PASS where not even a candidate without any could be worse by the margin.

    Above all where nothing counts in either arm, because what should count is broken.
    """
    if judged.verdict is not Verdict.PASS or (current is not None and current > margin):
        return judged
    reason = (
        f"{sequence.percent(current)} of the current run's answers count, and the margin is {sequence.percent(margin)}: "
        "losing all of them would not be noticed. Is something counted at all? Else give a smaller margin"
    )
    return judged.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _against_limit(policy: RatioPolicy, view: TrialView, counts: _Counts) -> CheckResult:
    """Judge one arm; where a lower share is worse, by the answers that do not count."""
    mirrored = policy.at_least is not None
    bad, n, allowed = _one_arm(policy, counts)
    found = _evidenced(policy, counts)
    low, high = sequential.share_bounds(bad, n, allowed, policy.confidence)
    compared = Compared(
        text=f"{sequence.percent(counts.share(0))}, share",
        value=counts.share(0),
        limit=1.0 - allowed if mirrored else allowed,
        direction="at_least" if mirrored else "at_most",
        interval=(1.0 - high, 1.0 - low) if mirrored else (low, high),
        smaller=counts.smaller,
        impossible=counts.impossible,
        minutes=counts.minutes,
        queries=counts.queries,
        details=counts.totals,
        sign="-",
    )
    return _judged(policy, view, found, compared)


def _judged(policy: RatioPolicy, view: TrialView, found: Evidenced, compared: Compared) -> CheckResult:
    samples = float(compared.smaller.sum())
    verdict = sequence.verdict_of(policy, view, found, samples=samples, minutes=compared.minutes)
    return sequence.told(policy, view, found, verdict, compared)
