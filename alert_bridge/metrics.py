"""What the bridge counts, and how it stands; all counters are there with 0 from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from model_release.errors import Refusal

Outcome = Literal["delivered", "unknown", "refused", "expired"]
OUTCOMES: tuple[Outcome, ...] = ("delivered", "unknown", "refused", "expired")
Reception = Literal[
    "accepted", "malformed", "invalid", "too_large", "unauthorized", "unknown_target", "full", "not_stored"
]
RECEPTIONS: tuple[Reception, ...] = (
    "accepted",
    "malformed",
    "invalid",
    "too_large",
    "unauthorized",
    "unknown_target",
    "full",
    "not_stored",
)
RESULTS: tuple[str, ...] = ("ok", *(str(kind).replace(" ", "_") for kind in Refusal))


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._webhooks = Counter("alert_bridge_webhooks", "Webhooks that came", ["outcome"], registry=self.registry)
        self._messages = Counter("alert_bridge_messages", "Messages that are over", ["outcome"], registry=self.registry)
        self._attempts = Counter(
            "alert_bridge_attempts", "Parts of messages sent to WeCom", ["result"], registry=self.registry
        )
        for reception in RECEPTIONS:
            self._webhooks.labels(reception)
        for outcome in OUTCOMES:
            self._messages.labels(outcome)
        for result in RESULTS:
            self._attempts.labels(result)

    def webhook(self, outcome: Reception) -> None:
        """Count a webhook."""
        self._webhooks.labels(outcome).inc()

    def message(self, outcome: Outcome, count: int = 1) -> None:
        """Count messages that are over."""
        self._messages.labels(outcome).inc(count)

    def attempt(self, refusal: Refusal | None) -> None:
        """Count one part that was sent; None: it was taken."""
        self._attempts.labels("ok" if refusal is None else str(refusal).replace(" ", "_")).inc()


class QueueState(Collector):
    """Gauges of the queue, read when they are asked for.

    Args:
        depth: returns how many messages wait and since when the oldest does.
    """

    def __init__(self, depth: Callable[[], tuple[int, float | None]]) -> None:
        self._depth = depth

    def collect(self) -> Iterator[Metric]:
        """Ask once, and give both."""
        count, oldest = self._depth()
        yield GaugeMetricFamily("alert_bridge_queue_messages", "Messages that wait", value=float(count))
        since = GaugeMetricFamily("alert_bridge_queue_oldest_timestamp_seconds", "Since when the oldest message waits")
        if oldest is not None:
            since.add_metric([], oldest)
        yield since
