"""Load runs, check them, and keep those that may be needed at once."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from model_release import golden
from model_release.adapters.run_store import RunStore, Source
from model_release.adapters.serving_formats import open_model
from model_release.artifact import ServedModel
from model_release.paths import ReleasePaths
from model_release.registry import Registry

_FALLBACK_LENGTH = 1000

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class LoadedRun:
    """A run that was verified, loaded and gave its golden answers.

    Attributes:
        stamp: size and time of last change of each file, as they were before they were read.
        fallback: its popular items, as they are: for the moment when the model itself fails.
    """

    run_id: str
    manifest_sha256: str
    stamp: Stamp
    model: ServedModel
    fallback: tuple[str, ...]
    loaded_at: dt.datetime

    @property
    def blocking(self) -> bool:
        """Whether an answer takes a millisecond or more."""
        return self.model.blocking


class ModelStore:
    """The runs that are resident in this process."""

    def __init__(self, paths: ReleasePaths) -> None:
        self._runs = RunStore(paths)
        self._resident: dict[str, LoadedRun] = {}  # the one that was wanted last stands last
        self._lock = threading.Lock()

    @property
    def resident(self) -> tuple[str, ...]:
        """Ids of the runs in memory, the one that was wanted last first."""
        with self._lock:
            return tuple(reversed(self._resident))

    def held(self, run_id: str) -> LoadedRun | None:
        """Return a run that is in memory, as it was when it was loaded; None: it is not."""
        with self._lock:
            return self._resident.get(run_id)

    def load(self, run_id: str, registry: Registry, *, source: Source = "models") -> LoadedRun:
        """Return a run that is fit to serve: every byte verified, loaded, golden answers compared.

        Args:
            run_id: the run.
            registry: pins the manifest of registered runs.
            source: published, or still staged (never kept resident).

        Raises:
            RunNotFoundError: there is no such run.
            ArtifactInvalidError: its files are not what its manifest, or the registry, says.
            GoldenMismatchError: it does not answer as it did when it was trained.
        """
        registered = registry.registered(run_id)
        pinned = registered.manifest_sha256 if registered else None
        digest = self._runs.manifest_sha256(run_id, source=source)
        stamp = _stamp(self._runs.folder(run_id, source=source))
        with self._lock:
            known = self._resident.get(run_id)
            if (
                known is not None
                and (known.manifest_sha256, known.stamp) == (digest, stamp)
                and pinned in {None, digest}
            ):
                self._resident[run_id] = self._resident.pop(run_id)
                return known
        with self._runs.opened(run_id, source=source, manifest_sha256=pinned) as run:
            model = open_model(run.files, run.manifest)
            model.prefault()
            golden.check(model, run.golden())
            digest = run.manifest_sha256
        fallback = tuple(model.popular(_FALLBACK_LENGTH))
        loaded = LoadedRun(run_id, digest, stamp, model, fallback, dt.datetime.now(dt.UTC))
        if source == "models":
            with self._lock:
                self._resident[run_id] = loaded
        return loaded

    def keep(self, wanted: Collection[str], *, spare: int) -> None:
        """Drop all but ``wanted`` and the ``spare`` others that were wanted last."""
        with self._lock:
            others = [run_id for run_id in self._resident if run_id not in wanted]
            for run_id in others[: max(0, len(others) - spare)]:
                del self._resident[run_id]


def _stamp(folder: Path) -> Stamp:
    """Return what shows cheaply that a file of a resident run was changed or replaced since it was verified."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found))
