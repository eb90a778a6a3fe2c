"""Is the candidate not slower: at no bound of a histogram is the share of slower answers larger by the margin or more?

Harm is the mean of the e-processes of all bounds, which is one however they depend on each other; safe is the least
of them, for every bound must be safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from model_release import blocks, sequential
from model_release.blocks import Floats, Life, Process, Series
from model_release.checks import sequence
from model_release.checks.results import unmeasured
from model_release.checks.sequence import Compared, Course, Group
from model_release.checks.trials import TrialView
from model_release.errors import UnmeasurableError
from model_release.evidence import ARMS, Missing, RangeQuery, questions_of
from model_release.policy import LatencyPolicy
from model_release.sequential import Blocks
from model_release.verdict import CheckResult, Verdict

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Slower:
    """Answers of each arm, and those slower than each bound: (bounds, blocks); ``impossible`` blocks are left out."""

    seconds: tuple[float, ...]
    x: tuple[Floats, Floats]
    n: tuple[Floats, Floats]
    impossible: int
    minutes: float
    queries: tuple[RangeQuery, ...]

    def blocks(self, which: int, cluster_size: float) -> Blocks:
        """Return the blocks of one bound."""
        return Blocks(self.n[0], self.x[0][which], self.n[1], self.x[1][which]).scaled(cluster_size)

    @property
    def smaller(self) -> Floats:
        """Answers of the arm that has fewer."""
        return min(self.n, key=lambda counted: float(counted.sum()))


def check(policy: LatencyPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Compare both arms at every bound; the result is about the worst one."""
    try:
        width = sequence.require_blocks(view)
        if not width:
            return (sequence.waiting(policy),)
        slower = _counted(policy, view, width)
    except UnmeasurableError as problem:
        return (unmeasured(policy, Missing(problem.reason, problem.settled)),)
    return (_judged(policy, view, slower),)


def course(policy: LatencyPolicy, view: TrialView) -> Course:
    """Return the e-processes after every block: what :func:`check` would have seen at each of them.

    Raises:
        UnmeasurableError: the counts can't be made.
    """
    slower = _counted(policy, view, sequence.require_blocks(view))
    harm, safe = _processes(policy, slower)
    found = sequence.evidenced(policy, harm=sequential.log_mean(harm), safe=safe.min(axis=0))
    return Course(found, np.min(np.cumsum(slower.n, axis=-1), axis=0))


def _processes(policy: LatencyPolicy, slower: _Slower) -> tuple[Floats, Floats]:
    """Return the log e-processes of harm and of safety at each bound: (bounds, blocks)."""
    margin = policy.margin
    each = [slower.blocks(bound, policy.cluster_size) for bound in range(len(slower.seconds))]
    return (
        np.stack([sequential.log_e_difference(one, margin, "at_most", scale=margin) for one in each]),
        np.stack([sequential.log_e_difference(one, margin, "at_least", scale=margin) for one in each]),
    )


def _counted(policy: LatencyPolicy, view: TrialView, width: int) -> _Slower:
    queries = [query for query in questions_of(policy, view.trial) if isinstance(query, RangeQuery)]
    groups = [sequence.gathered(view, [query]) for query in queries]
    known = blocks.lives(sequence.chained(groups))
    sequence.require_alive(view, groups, known)
    found = [_by_bound(group, known, width) for group in groups]
    if set(found[0]) != set(found[1]):
        raise UnmeasurableError(f"the histograms of {ARMS[0]} and {ARMS[1]} have other bounds")
    chosen = _chosen(policy, sorted(found[0]))
    impossible = np.any([_decreasing(one) for one in found], axis=0)
    n1, n0 = (one[math.inf] * ~impossible for one in found)
    x1, x0 = (np.stack([one[math.inf] - one[bound] for bound in chosen]) * ~impossible for one in found)
    return _Slower(
        chosen,
        (x1, x0),
        (n1, n0),
        sequence.require_plausible(impossible),
        sequence.measured_minutes(view, known),
        tuple(queries),
    )


def _by_bound(group: Group, known: dict[Process, Life], width: int) -> dict[float, Floats]:
    """Return how many answers at most as slow as each bound came in each block."""
    histograms: dict[Labels, dict[float, Series]] = {}
    for one in group.series:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        histograms.setdefault(labels, {})[_bound(one)] = one
    wanted = {bound for buckets in histograms.values() for bound in buckets}
    if math.inf not in wanted:
        raise UnmeasurableError(f"{group.name} has no bucket +Inf: it is no histogram")
    for buckets in histograms.values():
        if set(buckets) != wanted:
            raise UnmeasurableError(f"the series of {group.name} have different bounds")
        values = np.stack([buckets[bound].values for bound in sorted(buckets)])
        if (np.diff(values, axis=0) < 0.0).any():
            raise UnmeasurableError(f"the buckets of {group.name} decrease with le: they are not cumulative")
    return {
        bound: blocks.increments((buckets[bound] for buckets in histograms.values()), known, width) for bound in wanted
    }


def _bound(one: Series) -> float:
    try:
        bound = float(one.labels["le"])
    except (KeyError, ValueError):
        bound = math.nan
    if math.isnan(bound):
        raise UnmeasurableError(f"a bucket has le {one.labels.get('le')!r}, which is no bound")
    return bound


def _chosen(policy: LatencyPolicy, found: list[float]) -> tuple[float, ...]:
    finite = [bound for bound in found if not math.isinf(bound)]
    missing = [bound for bound in policy.slower_than or () if bound not in finite]
    if missing or not finite:
        there = ", ".join(f"{bound:g}" for bound in finite) or "none"
        wanted = f"bound {missing[0]:g} of slower_than" if missing else "finite bound"
        raise UnmeasurableError(f"the histogram has no {wanted}; there are: {there}")
    return tuple(sorted(policy.slower_than)) if policy.slower_than else tuple(finite)


def _decreasing(found: dict[float, Floats]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    counts = np.stack([found[bound] for bound in sorted(found)])
    return np.asarray((np.diff(counts, axis=0) < 0.0).any(axis=0))


def _judged(policy: LatencyPolicy, view: TrialView, slower: _Slower) -> CheckResult:
    harm, safe = _processes(policy, slower)
    least = int(safe[:, -1].argmin())
    found = sequence.evidenced(policy, harm=sequential.log_mean(harm), safe=safe[least])
    samples = float(slower.smaller.sum())
    verdict = sequence.verdict_of(policy, view, found, samples=samples, minutes=slower.minutes)
    worst = int(harm.max(axis=-1).argmax()) if verdict is Verdict.FAIL else least
    interval = sequential.difference_bounds(
        slower.blocks(worst, policy.cluster_size),
        policy.margin,
        policy.confidence,
        scale=policy.margin,
        harm=harm[worst],
        safe=safe[worst],
    )
    return sequence.told(policy, view, found, verdict, _compared(policy, slower, worst, interval))


def _compared(policy: LatencyPolicy, slower: _Slower, worst: int, interval: tuple[float, float]) -> Compared:
    shares = [
        float(x[worst].sum()) / float(n.sum()) if n.sum() > 0.0 else None
        for x, n in zip(slower.x, slower.n, strict=True)
    ]
    return Compared(
        text=f"slower than {slower.seconds[worst]:g} s, the worst of {len(slower.seconds)} bounds: "
        f"{sequence.percent(shares[0])} against {sequence.percent(shares[1])}, difference",
        value=None if shares[0] is None or shares[1] is None else shares[0] - shares[1],
        limit=policy.margin,
        direction="at_most",
        interval=interval,
        smaller=slower.smaller,
        impossible=slower.impossible,
        minutes=slower.minutes,
        queries=slower.queries,
        details={
            "margin": policy.margin,
            "slower_than_seconds": slower.seconds[worst],
            "bounds_seconds": list(slower.seconds),
            "candidate_share": shares[0],
            "current_share": shares[1],
            "answers": [float(n.sum()) for n in slower.n],
        },
    )
