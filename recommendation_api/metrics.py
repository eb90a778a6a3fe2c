"""What Prometheus scrapes.  docs/reference/metrics-api.md explains each one, and a test compares the two."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram

from recommendation_api.arms import ARMS, UNKNOWN
from recommendation_api.shadow_counts import CountsInMemory, PairCounts
from recommendation_api.shadow_metrics import ShadowMetrics

LATENCY_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds
OUTCOME_TYPES = ("view", "click", "cart", "purchase")
_OTHER = "other"
RELOAD_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """The metrics of one app; each has a registry of its own, so that tests may make many.

    Args:
        outcome_types: types of outcomes that are counted by name; all others together are ``other``.
        shadow_counts: where shadow trials are counted; None: in this process alone.
    """

    def __init__(self, outcome_types: Collection[str] = OUTCOME_TYPES, shadow_counts: PairCounts | None = None) -> None:
        self._outcome_types = frozenset(outcome_types)
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recommendation_requests", "Answers", ["endpoint", "variant", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "recommendation_latency_seconds",
            "Time to make an answer, by whose turn it was",
            ["endpoint", "variant"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.degraded = Counter(
            "recommendation_degraded",
            "Answers that are not the run's own, by whose turn it was",
            ["endpoint", "variant", "reason"],
            registry=self.registry,
        )
        self.empty = Counter(
            "recommendation_empty", "Answers without items", ["endpoint", "variant"], registry=self.registry
        )
        self.shed = Counter(
            "recommendation_shed", "Requests refused with 503 under overload", ["reason"], registry=self.registry
        )
        self.reloads = Counter("recommendation_reloads", "Reloads", ["outcome"], registry=self.registry)
        self.reload_seconds = Histogram(
            "recommendation_reload_seconds",
            "Time of a reload",
            ["outcome"],
            buckets=RELOAD_BUCKETS,
            registry=self.registry,
        )
        self.shadow = ShadowMetrics(shadow_counts or CountsInMemory())
        self.registry.register(self.shadow)
        self.exposures = Counter(
            "recommendation_exposures", "Answers in the exposure log", ["variant"], registry=self.registry
        )
        self.exposures_dropped = Counter(
            "recommendation_exposures_dropped",
            "Records that are not in the exposure log",
            ["reason"],
            registry=self.registry,
        )
        self.events = Counter("recommendation_events", "Outcomes that were sent", ["outcome"], registry=self.registry)
        self.outcomes = Counter(
            "recommendation_outcomes",
            "Outcomes taken, by the arm of the canary under way",
            ["variant", "type"],
            registry=self.registry,
        )
        # looking up label children costs more than counting
        self.count_request = cache(self.requests.labels)
        self.time_request = cache(self.latency.labels)
        self.count_empty = cache(self.empty.labels)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Make the series whose first event a rate would miss."""
        endpoints, made_by = ("recommend", "similar"), (*ARMS, "degraded")
        of_arm: list[tuple[str, ...]] = list(product(endpoints, ARMS))
        series: dict[Counter | Histogram, Iterable[tuple[str, ...]]] = {
            self.requests: product(endpoints, made_by, ["200"]),
            self.latency: of_arm,
            self.empty: of_arm,
            self.degraded: product(endpoints, ARMS, ("model_error", "no_model", "timeout")),
            self.shed: product(("late", "busy")),
            self.exposures: product(made_by),
            self.exposures_dropped: product(("queue_full", "disk", "invalid")),
            self.events: product(("accepted", "invalid", "refused")),
            self.outcomes: product((*ARMS, UNKNOWN), (*self._outcome_types, _OTHER)),
        }
        for family, labels in series.items():
            for values in labels:
                family.labels(*values)

    def count_exposures(self, kind: str, number: int) -> None:
        """Count answers that were written, by variant; outcomes are counted when they are sent."""
        if kind != "event":
            self.exposures.labels(kind).inc(number)

    def count_dropped(self, reason: str, number: int) -> None:
        """Count records that the exposure log dropped."""
        self.exposures_dropped.labels(reason).inc(number)

    def count_outcome(self, variant: str, kind: str) -> None:
        """Count an outcome that was taken; ``kind`` is what the sender wrote."""
        self.outcomes.labels(variant, kind if kind in self._outcome_types else _OTHER).inc()

    def count_events(self, outcome: str, number: int) -> None:
        """Count outcomes that were sent."""
        self.events.labels(outcome).inc(number)
