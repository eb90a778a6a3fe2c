"""What is counted of a shadow trial, for each pair of runs: counters and histograms, which add up over processes.

The labels ``current`` and ``candidate`` name the pair; :mod:`recommendation_api.shadow_exposition` keeps the exported pairs few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from model_release.ranking import DistinctCount, head_count, overlap, rank_biased_overlap

Outcome = Literal["scored", "failed", "dropped", "expired"]
OUTCOMES: tuple[Outcome, ...] = ("scored", "failed", "dropped", "expired")
VARIANTS = ("current", "candidate")
PAIR = ("current", "candidate")
LIKENESS_BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LATENCY_BUCKETS = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0)  # seconds


class ShadowMetrics:
    """The families, in the registry of the app."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.requests = self._counter("requests", "Requests drawn for a shadow candidate", "outcome")
        self.overlap = self._histogram("overlap", "Share of items that both lists name", LIKENESS_BUCKETS)
        self.rbo = self._histogram("rbo", "Rank-biased overlap of both lists, p = 0.9, extrapolated", LIKENESS_BUCKETS)
        self.empty = self._counter("empty", "Lists without items", "variant")
        self.items = self._counter("items", "Items of the lists", "variant")
        self.popular = self._counter("popular_items", "Items among the current run's 100 most popular", "variant")
        self.latency = self._histogram("latency_seconds", "Time of the candidate for one list", LATENCY_BUCKETS)
        self.served_latency = self._histogram(
            "served_latency_seconds", "Time of the current run for the same list", LATENCY_BUCKETS
        )

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"recommendation_shadow_{name}", text, [*PAIR, label], registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"recommendation_shadow_{name}", text, PAIR, buckets=buckets, registry=self._registry)


class PairMetrics:
    """The children of one pair, looked up once: that costs more than counting.

    Attributes:
        distinct: sketch of the items that each variant named in this process, since it first saw the pair.
    """

    def __init__(self, metrics: ShadowMetrics, current: str, candidate: str) -> None:
        pair = (current, candidate)
        self._outcomes = {outcome: metrics.requests.labels(*pair, outcome) for outcome in OUTCOMES}
        self._overlap, self._rbo = metrics.overlap.labels(*pair), metrics.rbo.labels(*pair)
        self._latency, self._served_latency = metrics.latency.labels(*pair), metrics.served_latency.labels(*pair)
        self._empty = [metrics.empty.labels(*pair, variant) for variant in VARIANTS]
        self._items = [metrics.items.labels(*pair, variant) for variant in VARIANTS]
        self._popular = [metrics.popular.labels(*pair, variant) for variant in VARIANTS]
        self.distinct = {variant: DistinctCount() for variant in VARIANTS}

    def count(self, outcome: Outcome) -> None:
        """Count a drawn request: each one has exactly one outcome."""
        self._outcomes[outcome].inc()

    def compare(self, served: Sequence[str], found: Sequence[str], head: frozenset[str]) -> None:
        """Note how the candidate's list ``found`` differs from the ``served`` one; ``head``: the popular items."""
        if served or found:
            self._overlap.observe(overlap(served, found))
            self._rbo.observe(rank_biased_overlap(served, found))
        for number, (variant, items) in enumerate(zip(VARIANTS, (served, found), strict=True)):
            if not items:
                self._empty[number].inc()
                continue
            self._items[number].inc(len(items))
            self._popular[number].inc(head_count(items, head))
            self.distinct[variant].add(items)

    def time(self, served_seconds: float, candidate_seconds: float) -> None:
        """Note how long the two took for the same list."""
        self._served_latency.observe(served_seconds)
        self._latency.observe(candidate_seconds)
