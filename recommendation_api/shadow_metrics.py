"""What is counted of a shadow trial, for each pair of runs: counters and histograms, which add up over processes.

The labels ``current`` and ``candidate`` name the pair; :mod:`recommendation_api.shadow_exposition` keeps the exported pairs few,
:mod:`recommendation_api.shadow_counts` those that are in memory and on disk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector

from model_release.ranking import DistinctCount, head_count, overlap, rank_biased_overlap
from recommendation_api.shadow_counts import PairCounts
from recommendation_api.shadow_families import (
    EMPTY,
    FAMILIES,
    ITEMS,
    LATENCY,
    OUTCOMES,
    OVERLAP,
    POPULAR,
    RBO,
    REQUESTS,
    SERVED_LATENCY,
    VARIANTS,
    Histogram,
    Outcome,
)

_OUTCOME = {outcome: REQUESTS.start + number for number, outcome in enumerate(OUTCOMES)}


class ShadowMetrics(Collector):
    """The families of all pairs that ``counts`` keeps."""

    def __init__(self, counts: PairCounts) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Metric]:
        """Give all families, with what all processes counted together."""
        rows = self.counts.read()
        return (family.metric(rows) for family in FAMILIES)


class PairMetrics:
    """What this process counts of one pair.

    Attributes:
        distinct: sketch of the items that each variant named in this process, since it first saw the pair.
    """

    def __init__(self, metrics: ShadowMetrics, current: str, candidate: str) -> None:
        self._cells = metrics.counts.open((current, candidate))
        self.distinct = {variant: DistinctCount() for variant in VARIANTS}

    def count(self, outcome: Outcome) -> None:
        """Count a drawn request: each one has exactly one outcome."""
        self._cells.add([(_OUTCOME[outcome], 1)])

    def compare(self, served: Sequence[str], found: Sequence[str], head: frozenset[str]) -> None:
        """Note how the candidate's list ``found`` differs from the ``served`` one; ``head``: the popular items."""
        amounts: list[tuple[int, float]] = []
        if served or found:
            amounts += _observed(OVERLAP, overlap(served, found))
            amounts += _observed(RBO, rank_biased_overlap(served, found))
        for number, (variant, items) in enumerate(zip(VARIANTS, (served, found), strict=True)):
            if not items:
                amounts.append((EMPTY.start + number, 1))
                continue
            amounts += [(ITEMS.start + number, len(items)), (POPULAR.start + number, head_count(items, head))]
            self.distinct[variant].add(items)
        self._cells.add(amounts)

    def time(self, served_seconds: float, candidate_seconds: float) -> None:
        """Note how long the two took for the same list."""
        self._cells.add([*_observed(SERVED_LATENCY, served_seconds), *_observed(LATENCY, candidate_seconds)])


def _observed(family: Histogram, value: float) -> list[tuple[int, float]]:
    """Return what one value adds: one to its bucket, and itself to the sum."""
    return [(family.start + bisect_left(family.bounds, value), 1), (family.sum, value)]
