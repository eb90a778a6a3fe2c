"""The files of one installation as the page reads them: each once, until it changes."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from model_release.adapters.decisions import decision_path, read_decision
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import mark_of
from model_release.adapters.ledger_reader import LedgerReader
from model_release.adapters.offline_evidence import read_data_quality
from model_release.adapters.reconciliation_files import (
    newest_reconciliation,
    read_reconciliation,
    reconciliation_dates,
)
from model_release.errors import ConfigurationError, InvalidInputError, ModelReleaseError
from model_release.evidence import Missing
from model_release.page.days import Days, days
from model_release.page.graph import graph_link
from model_release.page.health import Health, quality, reconciled
from model_release.page.one_release import Judgement, OneRelease, judgement, one_release
from model_release.page.part import Part, attempt, lacking, there
from model_release.page.quality_history import QualityHistory, quality_history
from model_release.page.releases import Release
from model_release.page.timeline import History
from model_release.paths import ReleasePaths
from model_release.policy import Stage
from model_release.reconciling.document import Document
from model_release.registry import Registry
from model_release.verdict import Decision

T = TypeVar("T")
PROMETHEUS_VARIABLE = "PROMETHEUS_EXTERNAL_URL"
STAGES: tuple[Stage, ...] = ("offline", "online")
_MOST_DECISIONS, _MOST_LOOKED_AT, _MOST_DATES = 20, 60, 45


class _Kept(Generic[T]):
    """The last answer to a question about a file, as long as the file is what it was."""

    def __init__(self, mark: Callable[[], object], read: Callable[[], T]) -> None:
        self._mark = mark
        self._read = read
        self._lock = threading.Lock()
        self._kept: tuple[object, T] | None = None

    def get(self) -> T:
        """Return the answer; an error is not kept."""
        with self._lock:
            mark = self._mark()
            if self._kept is None or self._kept[0] != mark:
                self._kept = (mark, self._read())
            return self._kept[1]


class Desk:
    """What the page knows of one folder."""

    def __init__(self, paths: ReleasePaths) -> None:
        self.paths = paths
        self._ledger = LedgerReader(paths)
        self._registry = _Kept(lambda: (mark_of(paths.registry), mark_of(paths.ledger)), FileRegistry(paths).read)
        self._history = _Kept(lambda: id(self._ledger.read()), lambda: History.of(self._ledger.read()))

    def registry(self) -> Registry:
        """Return the desired state.

        Raises:
            StateCorruptError: it is damaged, or lost.
        """
        return self._registry.get()

    def history(self) -> History:
        """Return what the ledger tells.

        Raises:
            StateCorruptError: it is damaged.
        """
        return self._history.get()

    def release(self, release_id: str) -> Part[OneRelease]:
        """Return one release with the gate's decisions on it."""
        history = attempt(self.history)
        if history.data is None:
            return lacking("broken", history.why)
        found = history.data.release(release_id)
        if found is None:
            return lacking("missing", f"the ledger tells nothing of release {release_id!r}")
        judgements: dict[str, Part[Judgement]] = {stage: self.judgement(release_id, stage) for stage in STAGES}
        entries = history.data.entries
        graph = self._graph(found)
        return attempt(lambda: one_release(found, entries, judgements, graph))

    def health(self) -> Health:
        """Return the data's quality, the newest reconciliation, and how both were before."""
        date = newest_reconciliation(self.paths)
        found = date if isinstance(date, Missing) else read_reconciliation(self.paths, date, whole=True)
        return Health(
            quality=quality(read_data_quality(self.paths)),
            history=self.quality_history(None),
            reconciliation=reconciled(found),
            days=self.days(None),
        )

    def quality_history(self, release_id: str | None) -> Part[QualityHistory]:
        """Return the data's quality as the gate found it at the last releases, up to ``release_id`` if it is given."""
        history = attempt(self.history)
        if history.data is None:
            return lacking("broken", history.why)
        known = history.data.releases  # the newest first
        start = next((place for place, one in enumerate(known) if one.release_id == release_id), 0)
        found = quality_history(
            itertools.islice(self._decisions(known[start : start + _MOST_LOOKED_AT]), _MOST_DECISIONS)
        )
        return (
            there(found)
            if found.tables
            else lacking("missing", "no kept decision of the gate tells of the data's quality")
        )

    def days(self, run_id: str | None) -> Part[Days]:
        """Return what was promised against what was observed over the last days, of ``run_id`` alone if it is given."""
        dates = reconciliation_dates(self.paths)
        if isinstance(dates, Missing):
            return lacking("missing", dates.reason)
        documents = [one for date in dates[-_MOST_DATES:] if (one := self._document(date)) is not None]
        found = days(documents, run_id=run_id)
        return there(found) if found is not None else lacking("missing", "no reconciled day tells of it")

    def decision(self, release_id: str, stage: Stage) -> Decision | None:
        """Return the last decision of a stage of a release, as long as its file is the same read only once.

        Raises:
            InvalidInputError: it is not a release id.
            StateCorruptError: the file is damaged.
        """
        return _decision(self.paths, release_id, stage, mark_of(decision_path(self.paths, release_id, stage)))

    def _decisions(self, releases: Iterable[Release]) -> Iterator[Decision]:
        for one in releases:
            try:
                found = self.decision(one.release_id, "offline")
            except (ModelReleaseError, OSError):
                continue  # a damaged decision is told where it is looked at itself
            if found is not None:
                yield found

    def _graph(self, release: Release) -> Part[str]:
        base = os.environ.get(PROMETHEUS_VARIABLE)
        if not base:
            return lacking("missing", f"{PROMETHEUS_VARIABLE} is not set for the API server")
        try:
            return there(graph_link(base, release.began, release.last))
        except ConfigurationError as error:
            return lacking("broken", error)

    def _document(self, date: dt.date) -> Document | None:
        return _document(self.paths, date, mark_of(self.paths.reconciliation_of(date)))

    def judgement(self, release_id: str, stage: Stage) -> Part[Judgement]:
        """Return the last decision of a stage of a release."""
        try:
            decision = self.decision(release_id, stage)
        except InvalidInputError as error:  # a name in the ledger that is no file's
            return lacking("missing", error)
        except (ModelReleaseError, OSError) as error:
            return lacking("broken", error)
        if decision is None:
            return lacking("missing", "no decision is kept")
        return attempt(lambda: judgement(decision))


@functools.lru_cache(maxsize=128)
def _decision(paths: ReleasePaths, release_id: str, stage: Stage, _mark: object) -> Decision | None:
    return read_decision(paths, release_id, stage)


@functools.lru_cache(maxsize=4 * _MOST_DATES)
def _document(paths: ReleasePaths, date: dt.date, _mark: object) -> Document | None:
    """Return a reconciliation of ours; None: it is somebody else's, or can't be read, which is told of the newest one."""
    found = read_reconciliation(paths, date, whole=True)
    return found if isinstance(found, Document) else None


@functools.lru_cache(maxsize=4)
def _desk(root: Path) -> Desk:
    return Desk(ReleasePaths(root))


def desk() -> Desk:
    """Return the desk of what ``MODEL_RELEASE_HOME`` names now."""
    return _desk(ReleasePaths.from_environment().root)
