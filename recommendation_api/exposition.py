"""``GET /metrics``: what all workers of this replica counted, and what they serve, whichever of them is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from model_release.contract import WorkerReport
from recommendation_api.arms import answers, trial_users
from recommendation_api.crew import Crew
from recommendation_api.metrics import Metrics
from recommendation_api.orders import TrialStates
from recommendation_api.runtime import Runtime
from recommendation_api.shadow_exposition import distinct_items, keep, merge


class ServedState(Collector):
    """Gauges of what is served, read from the workers when they are asked for.

    Args:
        reports: asks the workers.
        expected: how many there should be.
        readable: whether the registry could be read the last time.
    """

    def __init__(
        self, reports: Callable[[], Sequence[WorkerReport]], *, expected: int, readable: Callable[[], bool]
    ) -> None:
        self._reports = reports
        self._expected = expected
        self._readable = readable

    def collect(self) -> Iterator[Metric]:
        """Ask once, and give all gauges."""
        reports = self._reports()
        serving = [report for report in reports if report.current is not None] or reports  # not those that begin
        runs = GaugeMetricFamily(
            "recommendation_model_info", "Workers that have the run in the slot", labels=["run_id", "slot"]
        )
        slots = [("current", report.current) for report in reports]
        slots += [("candidate", report.candidate.run_id) for report in reports if report.candidate is not None]
        for slot, run_id in sorted({(slot, run_id) for slot, run_id in slots if run_id is not None}):
            runs.add_metric([run_id, slot], float(slots.count((slot, run_id))))
        yield runs
        yield GaugeMetricFamily(
            "recommendation_model_generation",
            "Generation of the desired state that every worker serves, or a later one",
            value=float(min((report.generation for report in serving), default=0)),
        )
        workers = GaugeMetricFamily("recommendation_workers", "Worker processes", labels=["state"])
        workers.add_metric(["expected"], float(self._expected))
        workers.add_metric(["serving"], float(sum(report.current is not None for report in reports)))
        yield workers
        yield GaugeMetricFamily(
            "recommendation_registry_readable",
            "1 if the registry could be read last time",
            value=float(self._readable()),
        )


def exposition(source: Collector, trials: Callable[[], Iterable[TrialStates]]) -> CollectorRegistry:
    """Return what ``GET /metrics`` shows: ``source`` without the pairs of the past, and what only all workers together know.

    Args:
        source: a registry, or the collector of the multi-process mode.
        trials: called with each scrape: what each worker of the replica knows of trials.
    """

    class Exposed(Collector):
        def collect(self) -> Iterator[Metric]:
            found = list(trials())
            merged = merge(state for one in found for state in one.states)
            counted = list(source.collect())
            yield from keep(counted, {state.pair for state in merged})
            yield answers(counted)
            yield distinct_items(merged)
            yield trial_users(one.users for one in found if one.users is not None)

    registry = CollectorRegistry()
    registry.register(Exposed())
    return registry


class _Together(Collector):
    """What all workers counted: the client library's files, and those of shadow trials."""

    def __init__(self, runtime: Runtime, shadow: Collector) -> None:
        self._others = MultiProcessCollector(None, str(runtime.metrics))  # type: ignore[no-untyped-call]  # published without types
        self._shadow = shadow

    def collect(self) -> Iterator[Metric]:
        """Read the files."""
        yield from self._others.collect()  # type: ignore[no-untyped-call]  # published without types
        yield from self._shadow.collect()


class Exposition:
    """Renders the metrics of the whole replica.

    Args:
        metrics: what this process counts.
        crew: all workers.
        runtime: where the others count; None: this process is the whole replica.
        readable: whether the registry could be read the last time.
    """

    def __init__(self, metrics: Metrics, crew: Crew, runtime: Runtime | None, *, readable: Callable[[], bool]) -> None:
        state = ServedState(crew.reports, expected=crew.expected, readable=readable)
        counted: Collector = metrics.registry
        if runtime is not None:
            counted = _Together(runtime, metrics.shadow)
        self._registry = exposition(counted, crew.trials)
        self._registry.register(state)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
