"""Make a backup while releases go on: one tar file, its index with the hash of every file at the end.

Registry and ledger are read together under the registry's lock, the registry never older than what the ledger tells of.
Runs never change, and none is pruned meanwhile.  What the gate wrote is read after the ledger that names it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import io
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from model_release.adapters.exposure_files import named_files
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import fsync_directory
from model_release.adapters.run_pruning import no_pruning
from model_release.adapters.run_store import RunStore
from model_release.artifact import MANIFEST_NAME
from model_release.backups import INDEX_NAME, BackedUpFile, Index
from model_release.errors import ArtifactInvalidError, InvalidInputError, StateError
from model_release.exposures import complete
from model_release.ledger import LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy.retention import Retention
from model_release.pruning import protected
from model_release.registry import Registry

Which = Literal["all", "protected"]
QUEUE = "data/alert_bridge/queue.sqlite"


def make_backup(
    paths: ReleasePaths, to: Path, *, now: dt.datetime, runs: Which = "all", exposures: bool = False
) -> Index:
    """Write a backup of the installation to the file ``to``; return what is in it.

    Args:
        paths: the installation.
        to: a file that is not there yet.
        now: when.
        runs: all published ones, or only those that pruning never takes.
        exposures: with the exposure log, which may be large.

    Raises:
        InvalidInputError: ``to`` is there already.
        ArtifactInvalidError: a run is damaged, or not the one that was registered.
        StateError: registry, ledger or queue can't be read, or a lock was not free in time.
        OSError: the disk does not take it, or a file can't be read.
    """
    if to.exists():
        raise InvalidInputError(f"{to} is there already: a backup is never overwritten")
    with no_pruning(paths), _replacing(to) as file, tarfile.open(fileobj=file, mode="w") as archive:
        writer = _Writer(archive)
        registry, entries, ledger = _state(paths)
        wanted = _wanted(paths, registry, entries, runs)
        for run_id in wanted:
            _add_run(writer, paths, run_id, registry)
        for path in _files(paths.evaluation):
            writer.add_file(path, paths.root)
        for path in sorted((paths.root / "config").glob("*.yaml")):
            writer.add_file(path, paths.root)
        for path in [path for _, path in named_files(paths.exposures)] if exposures else ():
            writer.add(f"data/exposures/{path.name}", complete(path.read_bytes()))
        if (paths.root / QUEUE).exists():
            writer.add(QUEUE, _queue(paths.root / QUEUE))
        if ledger:
            writer.add("models/release_ledger.jsonl", ledger)
        if registry != Registry():
            writer.add("models/model_registry.json", registry.model_dump_json(indent=2).encode() + b"\n")
        index = Index(
            made_at=now,
            generation=registry.generation,
            current=registry.current.run_id if registry.current else None,
            runs=tuple(wanted),
            files=tuple(writer.written),
        )
        writer.add_unlisted(INDEX_NAME, index.model_dump_json(indent=2).encode())
    return index


class _Writer:
    """Adds files to an archive, and remembers them with their hashes."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self.written: list[BackedUpFile] = []

    def add(self, name: str, content: bytes) -> None:
        self.add_unlisted(name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.written.append(BackedUpFile(name=name, bytes=len(content), sha256=sha256))

    def add_unlisted(self, name: str, content: bytes) -> None:
        self._add(tarfile.TarInfo(name), io.BytesIO(content), len(content))

    def add_file(self, path: Path, root: Path) -> str | None:
        """Add the file as it is at this moment; return its hash, None: it just went."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            facts = os.fstat(file.fileno())
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            info.mtime = facts.st_mtime
            hashing = _Hashing(file)
            self._add(info, hashing, facts.st_size)
        sha256 = hashing.digest.hexdigest()
        self.written.append(BackedUpFile(name=info.name, bytes=facts.st_size, sha256=sha256))
        return sha256

    def _add(self, info: tarfile.TarInfo, file: IO[bytes] | _Hashing, size: int) -> None:
        info.size, info.mode = size, 0o644
        self._archive.addfile(info, file)


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def _state(paths: ReleasePaths) -> tuple[Registry, list[LedgerEntry], bytes]:
    """Return registry and ledger of one moment: the lock keeps every change of the registry away."""
    found: list[tuple[list[LedgerEntry], bytes]] = []
    ledger = FileLedger(paths)

    def look(registry: Registry) -> Registry:
        content = complete(ledger.path.read_bytes()) if ledger.path.exists() else b""
        found[:] = [(ledger.read(), content)]
        return registry

    registry = FileRegistry(paths).update(look)
    return registry, *found[0]


def _wanted(paths: ReleasePaths, registry: Registry, entries: list[LedgerEntry], runs: Which) -> list[str]:
    there = sorted(RunStore(paths).run_ids())
    if runs == "all":
        return there
    kept = protected(Retention(), registry, entries)
    return [run_id for run_id in there if run_id in kept]


def _add_run(writer: _Writer, paths: ReleasePaths, run_id: str, registry: Registry) -> None:
    store, known = RunStore(paths), registry.registered(run_id)
    folder, manifest = store.folder(run_id), store.manifest(run_id)
    pinned = writer.add_file(folder / MANIFEST_NAME, paths.root)
    if known is not None and known.manifest_sha256 != pinned:
        raise ArtifactInvalidError(
            f"the manifest of run {run_id!r} is not the one that was registered; nothing was kept"
        )
    for entry in manifest.files:
        if writer.add_file(folder / entry.name, paths.root) != entry.sha256:
            raise ArtifactInvalidError(f"run {run_id!r}: {entry.name} is missing or altered; nothing was kept")


def _files(folder: Path) -> Iterator[Path]:
    """Yield what lies below a folder, but for links and for files that are being written."""
    for path in sorted(folder.rglob("*")):
        hidden = any(step.startswith(".") for step in path.relative_to(folder).parts)
        if not hidden and path.is_file() and not path.is_symlink():
            yield path


def _queue(path: Path) -> bytes:
    """Return a copy of the bridge's queue of one moment, by SQLite's own backup."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            with (
                contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            raise StateError(f"{path} can't be read: {error}") from error
        return copy.read_bytes()


@contextlib.contextmanager
def _replacing(to: Path) -> Iterator[IO[bytes]]:
    """Give a file that gets the name ``to`` when it is complete and on disk."""
    part = to.with_name(f".{to.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
        part.rename(to)
        fsync_directory(to.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
