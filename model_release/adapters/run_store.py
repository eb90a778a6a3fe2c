"""Runs on disk: written aside, renamed into place when complete, verified before use, never changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from model_release.adapters.files import fsync_directory, sha256_of, write_atomic
from model_release.artifact import GOLDEN_NAME, MANIFEST_NAME, FileEntry, GoldenRequest, Manifest
from model_release.errors import ArtifactInvalidError, RunExistsError, RunNotFoundError
from model_release.identifiers import check_run_id
from model_release.paths import ReleasePaths

Source = Literal["models", "staging"]
_MANIFEST_LIMIT = 16 << 20  # bytes; a manifest is a few kilobytes


class RunStore:
    """The folder ``models/``."""

    def __init__(self, paths: ReleasePaths) -> None:
        self._models = paths.models

    def folder(self, run_id: str, *, source: Source = "models") -> Path:
        """Return the folder of a run, whether it exists or not.

        Raises:
            InvalidRunIdError: the id must not become a path.
        """
        base = self._models if source == "models" else self._models / "staging"
        return base / check_run_id(run_id)

    def run_ids(self) -> list[str]:
        """Return all published runs, newest manifest first."""
        found = [path for path in self._models.glob(f"*/{MANIFEST_NAME}") if path.parent.name != "staging"]
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    @contextlib.contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """Give an empty folder to write the files of a run into; what is left of it on an error is removed."""
        folder = self.folder(run_id, source="staging")
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
        """
        staged = self.folder(manifest.run_id, source="staging")
        final = self.folder(manifest.run_id)
        if final.exists():
            raise RunExistsError(f"run {manifest.run_id!r} exists already in {final}: runs are never overwritten")
        for entry in manifest.files:
            _sync(staged / entry.name)
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
        folder = self.folder(run_id, source=source)
        if not folder.is_dir() or folder.is_symlink():
            known = ", ".join(self.run_ids()[:5]) or "none"
            raise RunNotFoundError(f"no run {run_id!r} in {folder.parent} (newest: {known})")
        path = folder / MANIFEST_NAME
        try:
            if path.is_symlink() or path.stat().st_size > _MANIFEST_LIMIT:
                raise ArtifactInvalidError(f"{path} is a link or larger than {_MANIFEST_LIMIT} bytes")
            manifest = Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise ArtifactInvalidError(f"run {run_id!r} has no {MANIFEST_NAME}: it was never completed") from error
        except ValidationError as error:
            raise ArtifactInvalidError(f"{path} is not a valid manifest: {error.error_count()} problems") from error
        if manifest.run_id != run_id:
            raise ArtifactInvalidError(f"{path} belongs to run {manifest.run_id!r}, not {run_id!r}")
        return manifest

    def manifest_sha256(self, run_id: str, *, source: Source = "models") -> str:
        """Return the hash of a run's manifest, and so, through the hashes in it, of the whole run."""
        self.manifest(run_id, source=source)
        return sha256_of(self.folder(run_id, source=source) / MANIFEST_NAME)

    def verify(self, run_id: str, *, source: Source = "models", manifest_sha256: str | None = None) -> Manifest:
        """Read every byte of a run and compare it with its manifest.

        Args:
            run_id: the run.
            source: published, or still in staging.
            manifest_sha256: the pinned hash of the manifest, if it is known.

        Raises:
            RunNotFoundError: there is no such run.
            ArtifactInvalidError: something is missing, altered, extra, or a link; the message names it.
        """
        manifest = self.manifest(run_id, source=source)
        folder = self.folder(run_id, source=source)
        if manifest_sha256 is not None and sha256_of(folder / MANIFEST_NAME) != manifest_sha256:
            raise ArtifactInvalidError(f"the manifest of run {run_id!r} is not the one that was registered")
        names = {entry.name for entry in manifest.files}
        if GOLDEN_NAME not in names:
            raise ArtifactInvalidError(f"run {run_id!r} has no {GOLDEN_NAME}: its answers could not be checked")
        found = {path.name for path in folder.iterdir()} - {MANIFEST_NAME}
        if found != names:
            raise ArtifactInvalidError(f"run {run_id!r}: files differ from its manifest: {sorted(found ^ names)}")
        for entry in manifest.files:
            _verify_file(folder / entry.name, entry)
        return manifest

    def golden(self, run_id: str, *, source: Source = "models") -> Sequence[GoldenRequest]:
        """Return the golden requests of a run.

        Raises:
            ArtifactInvalidError: a line is malformed.
        """
        path = self.folder(run_id, source=source) / GOLDEN_NAME
        try:
            return [GoldenRequest.model_validate_json(line) for line in path.read_bytes().splitlines() if line]
        except (ValidationError, FileNotFoundError) as error:
            raise ArtifactInvalidError(f"{path} is missing or malformed") from error


def _verify_file(path: Path, entry: FileEntry) -> None:
    if path.is_symlink() or not path.is_file():
        raise ArtifactInvalidError(f"{path} is not a regular file")
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactInvalidError(f"{path} has {size} bytes, its manifest says {entry.bytes}")
    if sha256_of(path) != entry.sha256:
        raise ArtifactInvalidError(f"{path} does not have the hash in its manifest: it was altered or damaged")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
