"""The state of releases as metrics: read from registry, ledger and reconciliation files at each scrape.

What can't be read has no series at all: an old number would look like a good one.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import mark_of
from model_release.adapters.reconciliation_files import newest_reconciliation, read_reconciliation
from model_release.errors import StateCorruptError, StateError
from model_release.evidence import Missing, Reconciliation
from model_release.ledger import LedgerEntry
from model_release.open_releases import last_released, open_releases
from model_release.paths import ReleasePaths
from model_release.registry import Candidate, Registry
from model_release.unsent import count_unsent

STATUSES = ("agrees", "differs", "missing")
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class ReleaseState(Collector):
    """Gauges of the state below ``paths``."""

    def __init__(self, paths: ReleasePaths) -> None:
        self._paths = paths
        self._registry = _Kept(paths.registry, FileRegistry(paths).read)
        self._ledger = _Kept(paths.ledger, FileLedger(paths).read)
        self._problem = ""

    def collect(self) -> Iterator[Metric]:
        """Read everything, then give everything, or only that it can't be read."""
        try:
            registry, entries = self._read()
        except (StateError, OSError) as error:
            self._report(str(error))
            yield _gauge("model_release_state_readable", "1 if registry and ledger can be read", 0.0)
        else:
            self._report("")
            yield _gauge("model_release_state_readable", "1 if registry and ledger can be read", 1.0)
            yield from _of_registry(registry)
            yield from _of_ledger(entries)
        yield from _of_reconciliation(self._reconciliation())

    def _read(self) -> tuple[Registry, Sequence[LedgerEntry]]:
        registry, entries = self._registry.read(), self._ledger.read()
        if registry.generation > 1 and not entries:  # at the first change a writer may have died between the two
            raise StateCorruptError(
                f"{self._paths.ledger} is missing or empty although the registry is at generation {registry.generation}"
            )
        return registry, entries

    def _report(self, problem: str) -> None:
        """Log a problem when it comes and when it goes, not at each scrape."""
        if problem != self._problem:
            _log.error("the state of releases can't be read: %s", problem) if problem else _log.info("it can be read")
            self._problem = problem

    def _reconciliation(self) -> Reconciliation | None:
        date = newest_reconciliation(self._paths)
        if isinstance(date, Missing):
            return None
        found = read_reconciliation(self._paths, date)
        if isinstance(found, Missing):
            _log.warning("%s", found.reason)
            return None
        return found


class _Kept(Generic[_T]):
    """What a file says, parsed again whenever the file is another one."""

    def __init__(self, path: Path, read: Callable[[], _T]) -> None:
        self._path = path
        self._read = read
        self._kept: tuple[tuple[int, int, int] | None, _T] | None = None

    def read(self) -> _T:
        mark = mark_of(self._path)
        if self._kept is None or mark is None or self._kept[0] != mark:
            self._kept = None
            self._kept = (mark, self._read())
        return self._kept[1]


def _of_registry(registry: Registry) -> Iterator[Metric]:
    yield _gauge("model_release_generation", "Generation of the desired state", float(registry.generation))
    current = [registry.current.run_id] if registry.current else []
    yield _labelled(
        "model_release_current_info",
        "The run that users should get",
        ["run_id"],
        {(run_id,): 1.0 for run_id in current},
    )
    trial: Candidate | None = registry.candidate
    yield _labelled(
        "model_release_candidate_info",
        "The run on trial",
        ["run_id", "mode"],
        {(trial.run_id, trial.mode): 1.0} if trial else {},
    )
    lease = trial.lease_until if trial else None
    yield _labelled(
        "model_release_candidate_lease_timestamp_seconds",
        "When the trial ends unless its lease is renewed",
        ["run_id"],
        {(trial.run_id,): lease.timestamp()} if trial and lease else {},
    )
    yield _gauge("model_release_latched", "1 if automatic releases are stopped", float(registry.latch is not None))


def _of_ledger(entries: Sequence[LedgerEntry]) -> Iterator[Metric]:
    last = last_released(entries)
    yield _moment("model_release_last_released_timestamp_seconds", "When a run was last released", last)
    yield CounterMetricFamily(
        "model_release_messages_not_sent",
        "Messages of Airflow's notifiers that did not reach people, since the ledger began",
        value=float(count_unsent(entries)),
    )
    yield _labelled(
        "model_release_open_timestamp_seconds",
        "When each release began that has not ended",
        ["release_id"],
        {(name,): begun.timestamp() for name, begun in open_releases(entries).items()},
    )


def _of_reconciliation(found: Reconciliation | None) -> Iterator[Metric]:
    at = found.written_at if found else None
    yield _moment("model_release_reconciliation_timestamp_seconds", "When the newest reconciliation was written", at)
    yield _labelled(
        "model_release_reconciliation_status",
        "1 for what the newest reconciliation says",
        ["status"],
        {(status,): float(found.status == status) for status in STATUSES} if found else {},
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _moment(name: str, text: str, at: dt.datetime | None) -> Metric:
    family = GaugeMetricFamily(name, text)
    if at is not None:
        family.add_metric([], at.timestamp())
    return family


def _labelled(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
