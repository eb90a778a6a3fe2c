"""Bring a backup back: read and checked as a whole beside what is there, then moved in, the registry last."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import fsync_directory
from model_release.adapters.run_store import RunStore
from model_release.backups import INDEX_NAME, PARTS, BackedUpFile, Index, restored, restored_entry
from model_release.errors import InvalidInputError, StateBusyError, StateCorruptError, StateError
from model_release.explain import explain
from model_release.paths import ReleasePaths
from model_release.registry import Registry

_CHUNK = 1 << 20
_INDEX_BYTES = 256 << 20


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        index: of the backup.
        registry: the desired state from now on.
        aside: the folders that hold what was there before.
    """

    index: Index
    registry: Registry
    aside: tuple[Path, ...]


def read_index(archive: tarfile.TarFile, source: Path) -> Index:
    """Return what a backup says of itself.

    Raises:
        InvalidInputError: it is no backup, or one of a later version.
    """
    try:
        file = archive.extractfile(INDEX_NAME)
        content = file.read(_INDEX_BYTES) if file is not None else b""
        return Index.model_validate_json(content)
    except ValidationError as error:
        raise InvalidInputError(f"{INDEX_NAME} in {source}: {explain(error, Index)}") from error
    except KeyError as error:
        raise InvalidInputError(f"{source} is not a complete backup: it has no {INDEX_NAME}") from error


def verify_backup(source: Path) -> Index:
    """Read every byte of a backup and compare it with the index.

    Raises:
        InvalidInputError: it is damaged, incomplete, or no backup.
        OSError: it can't be read.
    """
    with _opened(source) as (archive, index):
        for file, _ in _members(archive, index, source):
            _copy(archive, file, source, None)
    return index


def restore(
    paths: ReleasePaths, source: Path, *, above: int, aside: bool, by: str, now: dt.datetime
) -> Restored:  # fmt: skip
    """Replace the state of the installation by a backup; replicas that share it follow by themselves.

    Args:
        paths: the installation.
        source: the backup.
        above: the highest generation that any replica serves.
        aside: move what is there into a folder beside it; else the installation must be empty.
        by: who restores.
        now: when.

    Raises:
        InvalidInputError: the backup is damaged, or the installation is not empty.
        StateError: the backup's registry or ledger is damaged or of a later version, or the lock was not free.
        OSError: the disk does not take it.
    """
    with _opened(source) as (archive, index):
        if not any(file.part == "models" for file in index.files):
            raise InvalidInputError(f"{source} holds no run and no registry: there is nothing to go back to")
        parts = [part for part in PARTS if any(file.part == part for file in index.files)]
        there = [part for part in parts if part != "config" and any(_children(paths.root / part))]
        if there and not aside:
            raise InvalidInputError(
                f"{paths.root} is not empty ({', '.join(there)}): restore into an empty folder, or let what is there be "
                "moved aside with --aside; nothing was changed"
            )
        stamp = f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}"
        staged = {part: paths.root / part / f".restore-{stamp}" for part in parts}
        try:
            for file, part in _members(archive, index, source):
                _copy(archive, file, source, staged[part] / file.name.removeprefix(f"{part}/"))
            registry = _fenced(_Staged(paths.root, staged["models"]), index, max(above, _generation(paths)), by, now)
            kept = _swap(paths, staged, stamp)
        finally:
            for folder in staged.values():
                shutil.rmtree(folder, ignore_errors=True)
    return Restored(index, registry, kept)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[tarfile.TarFile, Index]]:
    try:
        with tarfile.open(source, mode="r:") as archive:
            yield archive, read_index(archive, source)
    except tarfile.TarError as error:
        raise InvalidInputError(f"{source} is not a complete backup: {error}") from error


def _members(archive: tarfile.TarFile, index: Index, source: Path) -> Iterator[tuple[BackedUpFile, str]]:
    """Yield the files of a backup with the part each belongs to; what is no plain file, or not listed, is refused."""
    members = archive.getmembers()
    names = {file.name for file in index.files} | {INDEX_NAME}
    strange = [one.name for one in members if not one.isreg() or one.name not in names]
    if strange or len(members) != len(names):
        problem = f"{strange[0]!r} is not in its index" if strange else "files of its index are missing, or there twice"
        raise InvalidInputError(f"{source} is damaged: {problem}")
    yield from ((file, file.part) for file in index.files)


def _copy(archive: tarfile.TarFile, file: BackedUpFile, source: Path, to: Path | None) -> None:
    """Read one file, compare it with the index, and write it if ``to`` is given."""
    member, digest, size = archive.getmember(file.name), hashlib.sha256(), 0
    content = archive.extractfile(member)
    if content is None:
        raise InvalidInputError(f"{source} is damaged: {file.name} is no file")
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(to.open("xb")) if to is not None else None
        while piece := content.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
            if target is not None:
                target.write(piece)
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise InvalidInputError(f"{source} is damaged: {file.name} is not what its index says")
    if to is not None:
        os.utime(to, (member.mtime, member.mtime))  # a run's age counts from it


@dataclass(frozen=True)
class _Staged(ReleasePaths):
    """An installation whose models lie elsewhere: what is restored is read with the readers of what is in use."""

    elsewhere: Path

    @property
    def models(self) -> Path:
        """Published runs, not in their place yet."""
        return self.elsewhere


def _fenced(staged: ReleasePaths, index: Index, above: int, by: str, now: dt.datetime) -> Registry:
    """Check the staged state, and fence it."""
    runs = RunStore(staged)
    for run_id in index.runs:
        runs.verify(run_id)
    store, ledger = FileRegistry(staged), FileLedger(staged)
    before = store.read()
    if before.generation != index.generation:
        raise StateCorruptError(f"the backup's registry is at {before.generation}, its index says {index.generation}")
    after = store.update(
        lambda state: restored(state, runs=index.runs, above=above, made_at=index.made_at, by=by, at=now)
    )
    ledger.append(restored_entry(before, after, made_at=index.made_at, by=by, at=now))
    return after


def _generation(paths: ReleasePaths) -> int:
    """Return that of the state which is replaced; one that can't be read tells nothing."""
    try:
        return FileRegistry(paths).read().generation
    except StateError:
        return 0


def _children(folder: Path) -> list[Path]:
    """Return what a folder holds, without locks and hidden files."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".lock")


def _swap(paths: ReleasePaths, staged: dict[str, Path], stamp: str) -> tuple[Path, ...]:
    """Move what is there aside and the staged files in; the registry is the first to go and the last to come."""
    aside: list[Path] = []
    paths.models.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{paths.registry}.lock", timeout=30.0):
            for part in reversed(staged):  # `models` last
                folder = paths.root / part
                if part == "config" and any(_children(folder)):
                    aside.append(_keep(staged[part], folder.with_name(f"config.restored-{stamp}")))
                    continue
                old = sorted(_children(folder), key=lambda path: path != paths.registry)
                if old:
                    kept = folder / f".before-restore-{stamp}"
                    kept.mkdir()
                    aside.append(kept)
                for path in old:
                    path.rename(kept / path.name)
                for path in sorted(_children(staged[part]), key=lambda path: path.name == paths.registry.name):
                    path.rename(folder / path.name)
                fsync_directory(folder)
    except Timeout as error:
        raise StateBusyError(f"the lock of {paths.registry} was not free in time; stop Airflow and retry") from error
    return tuple(aside)


def _keep(folder: Path, to: Path) -> Path:
    folder.rename(to)
    return to
