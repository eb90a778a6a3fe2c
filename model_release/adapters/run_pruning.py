"""Remove old runs: moved aside under the registry's lock, told to the ledger, then deleted.

A process that has a removed run's files open or mapped keeps them.  A sweep that dies half-way is finished by the next
one: what lies in ``models/.trash`` with its manifest is still to be told of, the manifest is the first file to go.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from model_release import pruning
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import fsync_directory, sha256_of
from model_release.adapters.run_store import RunStore, look
from model_release.artifact import MANIFEST_NAME, FoundRun
from model_release.errors import ArtifactInvalidError, RunNotFoundError, StateBusyError
from model_release.holds import hold_entry, holds
from model_release.paths import ReleasePaths
from model_release.policy.retention import Retention
from model_release.pruning import Plan
from model_release.registry import Registry, forget

_UNFINISHED = ".staging."  # before the name of an unfinished run in the trash; no run id begins with a dot
_AGE = "not protected, older than the policy's retention"
_FINISHED = "moved away by a sweep that was interrupted"


@dataclass(frozen=True)
class Swept:
    """What a sweep did, or would do.

    Attributes:
        runs: of published runs.
        staging: of unfinished ones.
    """

    runs: Plan
    staging: Plan

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(run.size for run in (*self.runs.doomed, *self.staging.doomed))


@contextmanager
def no_pruning(paths: ReleasePaths, *, timeout_seconds: float = 30.0) -> Iterator[None]:
    """Keep every run where it is meanwhile: one sweep, or one backup, at a time.

    Raises:
        StateBusyError: somebody else prunes, or makes a backup, for longer than ``timeout_seconds``.
    """
    paths.models.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(paths.models / ".prune.lock", timeout=timeout_seconds):
            yield
    except Timeout as error:
        raise StateBusyError(f"runs in {paths.models} are being pruned or backed up; retry later") from error


@dataclass(frozen=True)
class Pruner:
    """Prunes the runs of one installation.

    Attributes:
        paths: the installation.
        retention: what is kept beside what always is.
        by: who prunes, for the ledger.
    """

    paths: ReleasePaths
    retention: Retention
    by: str
    store: RunStore = field(init=False)
    registry: FileRegistry = field(init=False)
    ledger: FileLedger = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", RunStore(self.paths))
        object.__setattr__(self, "registry", FileRegistry(self.paths))
        object.__setattr__(self, "ledger", FileLedger(self.paths))

    def look(self, now: dt.datetime) -> Swept:
        """Return what a sweep would do; nothing is changed.

        Raises:
            StateError: registry or ledger can't be read.
        """
        return self._plans(self.registry.read(), now)

    def sweep(self, now: dt.datetime) -> Swept:
        """Remove what may go, and say so in the ledger.

        Raises:
            StateBusyError: the lock of the registry, or of another sweep, was not free in time.
            StateError: registry or ledger can't be read; nothing was removed.
            OSError: a run can't be moved or removed; the next sweep goes on.
        """
        with no_pruning(self.paths):
            left = self._finish(now)
            moved: list[Swept] = []

            def move(registry: Registry) -> Registry:
                swept = self._plans(registry, now)
                for run in swept.runs.doomed:
                    self._move(self.store.folder(run.run_id), run.run_id)
                for run in swept.staging.doomed:
                    self._move(self.store.folder(run.run_id, source="staging"), _UNFINISHED + run.run_id)
                moved[:] = [swept]
                gone = {run_id for run_id in left if not self.store.folder(run_id).exists()}
                return forget(registry, gone | {run.run_id for run in swept.runs.doomed})

            generation = self.registry.update(move).generation
            for run in moved[0].runs.doomed:
                self._tell(run, generation=generation, now=now, reason=_AGE)
            for folder in self._trash():
                shutil.rmtree(folder)
            return moved[0]

    def _plans(self, registry: Registry, now: dt.datetime) -> Swept:
        entries = self.ledger.read()
        staging, published = self.store.found("staging"), self.store.found("models")
        return Swept(
            pruning.plan(self.retention, registry, entries, published, now=now),
            pruning.plan_staging(self.retention, registry, entries, staging, now=now),
        )

    def _move(self, folder: Path, name: str) -> None:
        self.paths.trash.mkdir(exist_ok=True)
        folder.rename(self.paths.trash / name)
        fsync_directory(folder.parent)

    def _finish(self, now: dt.datetime) -> set[str]:
        """Tell of, and delete, what an interrupted sweep left in the trash; return the runs among it."""
        generation, left = self.registry.read().generation, set[str]()
        for folder in self._trash():
            if not folder.name.startswith(_UNFINISHED):
                left.add(folder.name)
                run = look(folder, published=True)  # None: it was told of
                if run is not None:
                    self._tell(run, generation=generation, now=now, reason=_FINISHED)
            shutil.rmtree(folder)
        return left

    def _tell(self, run: FoundRun, *, generation: int, now: dt.datetime, reason: str) -> None:
        manifest = self.paths.trash / run.run_id / MANIFEST_NAME
        entry = pruning.pruned_entry(
            run, generation=generation, by=self.by, at=now, manifest_sha256=sha256_of(manifest), reason=reason
        )
        self.ledger.append(entry)
        manifest.unlink()

    def _trash(self) -> list[Path]:
        trash = self.paths.trash
        if trash.is_symlink():
            raise ArtifactInvalidError(f"{trash} is a link: runs are not moved through links; remove it")
        return sorted(trash.iterdir()) if trash.is_dir() else []


def hold(paths: ReleasePaths, run_id: str, *, held: bool, reason: str, by: str, now: dt.datetime) -> None:
    """Put a run on hold, or end its hold; under the registry's lock, so that no sweep takes it meanwhile.

    Raises:
        RunNotFoundError: there is no such run to hold, or no hold to end.
        StateError: registry or ledger can't be read or locked.
    """
    store, ledger = RunStore(paths), FileLedger(paths)
    folder = store.folder(run_id)

    def note(registry: Registry) -> Registry:
        if held and not (folder / MANIFEST_NAME).is_file():
            known = ", ".join(store.run_ids()[:5]) or "none"
            raise RunNotFoundError(f"no run {run_id!r} in {paths.models} (newest: {known})")
        if not held and run_id not in holds(ledger.read()):
            raise RunNotFoundError(f"run {run_id!r} is not on hold")
        ledger.append(hold_entry(run_id, held=held, reason=reason, by=by, at=now))
        return registry

    FileRegistry(paths).update(note)
