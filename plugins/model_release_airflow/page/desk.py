"""The files of one installation as the page reads them: each once, until it changes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from model_release.adapters.decisions import read_decision
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import mark_of
from model_release.adapters.ledger_reader import LedgerReader
from model_release.adapters.offline_evidence import read_data_quality
from model_release.adapters.reconciliation_files import newest_reconciliation, read_reconciliation
from model_release.errors import InvalidInputError, ModelReleaseError, StateCorruptError
from model_release.evidence import Missing
from model_release.page.health import Health, quality, reconciled
from model_release.page.one_release import Judgement, OneRelease, judgement, one_release
from model_release.page.part import Part, attempt, lacking
from model_release.page.timeline import History
from model_release.paths import ReleasePaths
from model_release.policy import Stage
from model_release.registry import Registry

T = TypeVar("T")
_STAGES: tuple[Stage, ...] = ("offline", "online")


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
            StateCorruptError: it is damaged, or lost: a registry that was changed has a ledger.
        """
        history = self._history.get()
        if not history.entries:
            self._was_never_written()
        return history

    def release(self, release_id: str) -> Part[OneRelease]:
        """Return one release with the gate's decisions on it."""
        history = attempt(self.history)
        if history.data is None:
            return lacking("broken", history.why)
        found = history.data.release(release_id)
        if found is None:
            return lacking("missing", f"the ledger tells nothing of release {release_id!r}")
        judgements: dict[str, Part[Judgement]] = {stage: self.judgement(release_id, stage) for stage in _STAGES}
        entries = history.data.entries
        return attempt(lambda: one_release(found, entries, judgements))

    def health(self) -> Health:
        """Return the data's quality, and the newest reconciliation."""
        date = newest_reconciliation(self.paths)
        found = date if isinstance(date, Missing) else read_reconciliation(self.paths, date, whole=True)
        promises, data = reconciled(found), quality(read_data_quality(self.paths))
        return Health(
            quality=data if data.state == "ok" or not _is_there(self.paths.data_quality_metrics) else _broken(data),
            reconciliation=promises if promises.state == "ok" or isinstance(date, Missing) else _broken(promises),
        )

    def _was_never_written(self) -> None:
        try:
            generation = self.registry().generation
        except ModelReleaseError:
            return  # which says so itself
        if generation:
            path = self.paths.ledger
            raise StateCorruptError(
                f"{path} is {'empty' if _is_there(path) else 'missing'} although the registry is at generation {generation}; restore it"
            )

    def judgement(self, release_id: str, stage: Stage) -> Part[Judgement]:
        """Return the last decision of a stage of a release."""
        try:
            decision = read_decision(self.paths, release_id, stage)
        except InvalidInputError as error:  # a name in the ledger that is no file's
            return lacking("missing", error)
        except (ModelReleaseError, OSError) as error:
            return lacking("broken", error)
        if decision is None:
            return lacking("missing", "no decision is kept")
        return attempt(lambda: judgement(decision))


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _broken(part: Part[T]) -> Part[T]:
    """Return the part of a file that is there, and does not say what it should."""
    return lacking("broken", part.why)


@functools.lru_cache(maxsize=4)
def _desk(root: Path) -> Desk:
    return Desk(ReleasePaths(root))


def desk() -> Desk:
    """Return the desk of what ``MODEL_RELEASE_HOME`` names now."""
    return _desk(ReleasePaths.from_environment().root)
