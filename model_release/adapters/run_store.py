"""Runs on disk: written aside, renamed into place when complete, verified before use, never changed."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from model_release import golden, limits
from model_release.adapters.files import fsync_directory, room_for, sha256_of, write_atomic
from model_release.adapters.run_files import RunFiles
from model_release.artifact import GOLDEN_NAME, MANIFEST_NAME, FileEntry, FoundRun, GoldenRequest, Manifest
from model_release.errors import ArtifactInvalidError, RunExistsError, RunNotFoundError
from model_release.identifiers import check_run_id, is_run_id
from model_release.paths import ReleasePaths
from model_release.versions import later_version

Source = Literal["models", "staging"]
_STAGING = "staging"


@dataclass(frozen=True)
class OpenRun:
    """A run whose files are open.

    Attributes:
        manifest: what it says of itself.
        manifest_sha256: hash of the bytes that ``manifest`` was read from.
        files: for ``open_model``.
    """

    manifest: Manifest
    manifest_sha256: str
    files: RunFiles

    def golden(self) -> Sequence[GoldenRequest]:
        """Return its golden requests.

        Raises:
            ArtifactInvalidError: they are missing, too many, or a line is malformed.
        """
        return _golden(self.files)


class RunStore:
    """The folder ``models/``."""

    def __init__(self, paths: ReleasePaths) -> None:
        self._models = paths.models

    def folder(self, run_id: str, *, source: Source = "models") -> Path:
        """Return the folder of a run, whether it exists or not.

        Raises:
            InvalidRunIdError: the id must not become a path.
        """
        check_run_id(run_id)
        return self._models.joinpath(*_way(run_id, source))

    def run_ids(self) -> list[str]:
        """Return all published runs, newest manifest first."""
        found = [
            path
            for path in self._models.glob(f"*/{MANIFEST_NAME}")
            if is_run_id(path.parent.name) and not path.parent.is_symlink()
        ]
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    def found(self, source: Source) -> list[FoundRun]:
        """Return what lies there, with age and size: published runs, or unfinished ones; one that just goes is left out."""
        folder = self._models / _STAGING if source == "staging" else self._models
        names = _names(folder) if source == "staging" else self.run_ids()
        seen = (look(folder / name, published=source == "models") for name in names)
        return [one for one in seen if one is not None]

    @contextlib.contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """Give an empty folder to write the files of a run into; what is left of it on an error is removed.

        Raises:
            ArtifactInvalidError: ``models/staging``, or the run's folder in it, is a link.
        """
        folder = self.folder(run_id, source="staging")
        for place in (folder.parent, folder):
            if place.is_symlink():
                raise ArtifactInvalidError(f"{place} is a link: runs are not written through links; remove it")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def entries(self, folder: Path) -> tuple[FileEntry, ...]:
        """Return name, size and hash of every data file in ``folder``, by name."""
        files = sorted(path for path in folder.iterdir() if path.name != MANIFEST_NAME)
        return tuple(FileEntry(name=path.name, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in files)

    def publish(self, manifest: Manifest) -> Path:
        """Complete the staged run with its manifest and rename it into place.

        Raises:
            ArtifactInvalidError: the staged files are not what the manifest says.
            RunExistsError: a run with this id is published already; it stays as it is.
            OSError: the disk is full; the message says of which file how many bytes were missing.  What is staged stays:
                publish again when there is room.
        """
        staged = self.folder(manifest.run_id, source="staging")
        final = self.folder(manifest.run_id)
        if final.exists():
            raise RunExistsError(f"run {manifest.run_id!r} exists already in {final}: runs are never overwritten")
        for entry in manifest.files:
            _sync(staged / entry.name, entry.bytes)
        write_atomic(staged / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")
        return self.publish_staged(manifest.run_id)

    def publish_staged(self, run_id: str) -> Path:
        """Rename a complete staged run into place.

        Raises:
            RunNotFoundError: nothing is staged under this id.
            ArtifactInvalidError: what is staged is not complete, or not what its manifest says.
            RunExistsError: a run with this id is published already; it stays as it is.
        """
        self.verify(run_id, source="staging")
        final = self.folder(run_id)
        if final.exists():  # an empty folder would be replaced by a rename
            raise RunExistsError(f"run {run_id!r} exists already in {final}: runs are never overwritten")
        try:
            self.folder(run_id, source="staging").rename(final)
        except OSError as error:
            raise RunExistsError(f"run {run_id!r} could not be moved to {final}: {error}") from error
        fsync_directory(final.parent)
        return final

    def manifest(self, run_id: str, *, source: Source = "models") -> Manifest:
        """Read the manifest of a run, without looking at its data files.

        Raises:
            RunNotFoundError: there is no such run.
            ArtifactInvalidError: the manifest is missing, malformed, or another run's.
        """
        with self._opened(run_id, source) as run:
            return run.manifest

    def manifest_sha256(self, run_id: str, *, source: Source = "models") -> str:
        """Return the hash of a run's manifest, and so, through the hashes in it, of the whole run."""
        with self._opened(run_id, source) as run:
            return run.manifest_sha256

    @contextlib.contextmanager
    def opened(
        self, run_id: str, *, source: Source = "models", manifest_sha256: str | None = None
    ) -> Iterator[OpenRun]:
        """Give a run, every byte compared with its manifest, with the very files open that were compared.

        Args:
            run_id: the run.
            source: published, or still in staging.
            manifest_sha256: the pinned hash of the manifest, if it is known.

        Raises:
            RunNotFoundError: there is no such run.
            ArtifactInvalidError: something is missing, altered, extra, a link, or too large; the message names it.
        """
        with self._opened(run_id, source) as run:
            if manifest_sha256 not in {None, run.manifest_sha256}:
                raise ArtifactInvalidError(f"the manifest of run {run_id!r} is not the one that was registered")
            names = {entry.name for entry in run.manifest.files}
            if GOLDEN_NAME not in names:
                raise ArtifactInvalidError(f"run {run_id!r} has no {GOLDEN_NAME}: its answers could not be checked")
            differing = (run.files.names() - {MANIFEST_NAME}) ^ names
            if differing:
                raise ArtifactInvalidError(f"run {run_id!r}: files differ from its manifest: {sorted(differing)}")
            for entry in run.manifest.files:
                run.files.verify(entry)
            yield run

    def verify(self, run_id: str, *, source: Source = "models", manifest_sha256: str | None = None) -> Manifest:
        """Read every byte of a run and compare it with its manifest; arguments and errors as ``opened``."""
        with self.opened(run_id, source=source, manifest_sha256=manifest_sha256) as run:
            return run.manifest

    def golden(self, run_id: str, *, source: Source = "models") -> Sequence[GoldenRequest]:
        """Return the golden requests of a run, which may still lack its manifest.

        Raises:
            ArtifactInvalidError: they are missing, too many, or a line is malformed.
        """
        self.folder(run_id, source=source)
        with RunFiles.below(self._models, *_way(run_id, source)) as files:
            return _golden(files)

    @contextlib.contextmanager
    def _opened(self, run_id: str, source: Source) -> Iterator[OpenRun]:
        folder = self.folder(run_id, source=source)
        if not folder.is_dir() or folder.is_symlink():
            known = ", ".join(self.run_ids()[:5]) or "none"
            raise RunNotFoundError(f"no run {run_id!r} in {folder.parent} (newest: {known})")
        with RunFiles.below(self._models, *_way(run_id, source)) as files:
            if MANIFEST_NAME not in files.names():
                raise ArtifactInvalidError(f"run {run_id!r} has no {MANIFEST_NAME}: it was never completed")
            data = files.open(MANIFEST_NAME).read(limits.MANIFEST_BYTES)
            manifest = _parse(data, folder / MANIFEST_NAME)
            if manifest.run_id != run_id:
                raise ArtifactInvalidError(
                    f"{folder / MANIFEST_NAME} belongs to run {manifest.run_id!r}, not {run_id!r}"
                )
            yield OpenRun(manifest, hashlib.sha256(data).hexdigest(), files)


def _way(run_id: str, source: Source) -> tuple[str, ...]:
    """Return the folders from ``models`` to a run."""
    return (run_id,) if source == "models" else (_STAGING, run_id)


def _names(folder: Path) -> list[str]:
    """Return the names in a folder that are run ids, if there is such a folder."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(
        path.name for path in folder.iterdir() if is_run_id(path.name) and path.is_dir() and not path.is_symlink()
    )


def look(folder: Path, *, published: bool) -> FoundRun | None:
    """Return age and size of the run in ``folder``; None: it just went."""
    try:
        facts = [path.lstat() for path in folder.iterdir()]
        at = (folder / MANIFEST_NAME).stat().st_mtime if published else folder.stat().st_mtime
    except FileNotFoundError:
        return None
    if not published:
        at = max([at, *(one.st_mtime for one in facts)])
    return FoundRun(folder.name, dt.datetime.fromtimestamp(at, dt.UTC), sum(one.st_size for one in facts))


def _golden(files: RunFiles) -> Sequence[GoldenRequest]:
    file = files.open(GOLDEN_NAME)
    return golden.parse(file.read(limits.GOLDEN_BYTES), str(file.path))


def _parse(data: bytes, path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        later = later_version(error.errors(include_url=False), Manifest)
        if later is not None:
            raise ArtifactInvalidError(f"{path}: {later}") from error
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise ArtifactInvalidError(
            f"{path} is not a valid manifest: {error.error_count()} problems, first: {place}: {first['msg']}"
        ) from error


def _sync(path: Path, size: int) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with room_for(path, size):  # some file systems find out only now
            os.fsync(handle)
    finally:
        os.close(handle)
