"""The files of a run, each opened once and never through a link.

What is hashed, parsed and mapped is the same open file: exchanging it under its name between two of these steps changes
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from model_release import limits
from model_release.artifact import FileEntry
from model_release.errors import ArtifactInvalidError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe must not wait for a writer
_A_LINK = (errno.ELOOP, errno.ENOTDIR)
_CHUNK = 1 << 20


@dataclass
class OpenFile:
    """A regular file.

    Attributes:
        path: for messages only.
        descriptor: what is read.
        size: in bytes, when it was opened.
        mapping: its content, once it was mapped.
    """

    path: Path
    descriptor: int
    size: int
    mapping: mmap.mmap | None = field(default=None, repr=False)

    def head(self, length: int) -> bytes:
        """Return the first bytes, at most ``length``."""
        return os.pread(self.descriptor, length, 0)

    def read(self, limit: int) -> bytes:
        """Return all of it.

        Raises:
            ArtifactInvalidError: it is larger than ``limit`` bytes.
        """
        if self.size > limit:
            raise ArtifactInvalidError(f"{self.path} has {self.size} bytes, allowed are {limit}")
        with open(self.descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read(limit)

    def sha256(self) -> str:
        """Return its SHA-256 in hexadecimal; other threads run meanwhile."""
        digest = hashlib.sha256()
        offset = 0
        while chunk := os.pread(self.descriptor, _CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
        return digest.hexdigest()

    def map(self) -> mmap.mmap:
        """Return its content mapped for reading, the same object each time.

        Raises:
            ArtifactInvalidError: it is empty.
        """
        if self.mapping is None:
            if self.size == 0:
                raise ArtifactInvalidError(f"{self.path} is empty")
            self.mapping = mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_READ)
        return self.mapping


class RunFiles:
    """A run's folder, held open; close it when all that is needed was read or mapped (mappings live on)."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        """Take over ``descriptor``, an open folder; ``folder`` is for messages."""
        self.folder = folder
        self._descriptor = descriptor
        self._files: dict[str, OpenFile] = {}

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Open a folder, which may not be a link itself.

        Raises:
            ArtifactInvalidError: it is not there, or no folder.
        """
        return cls.below(folder.parent, folder.name)

    @classmethod
    def below(cls, base: Path, *names: str) -> Self:
        """Open ``base/names...``; ``base`` may be reached through links, the names may not be links.

        Raises:
            ArtifactInvalidError: one of them is not there, a link, or no folder.
        """
        folder = base
        try:
            descriptor = os.open(base, _FOLDER & ~os.O_NOFOLLOW)
            for name in names:
                folder /= name
                outer = descriptor
                try:
                    descriptor = os.open(name, _FOLDER, dir_fd=outer)
                finally:
                    os.close(outer)
        except OSError as error:
            if error.errno in _A_LINK or isinstance(error, FileNotFoundError):
                raise ArtifactInvalidError(f"{folder} is missing, or a link instead of a folder") from error
            raise
        return cls(folder, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder and its files."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def names(self) -> set[str]:
        """Return the names in the folder.

        Raises:
            ArtifactInvalidError: there are more than a run may have.
        """
        found: set[str] = set()
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                found.add(entry.name)
                if len(found) > limits.FILES + 1:
                    raise ArtifactInvalidError(f"{self.folder} holds more than {limits.FILES} files and a manifest")
        return found

    def open(self, name: str) -> OpenFile:
        """Return a regular file of the folder, opened once.

        Raises:
            ArtifactInvalidError: it is not there, a link, or something else.
        """
        if name not in self._files:
            self._files[name] = self._open(name)
        return self._files[name]

    def mappings(self) -> tuple[mmap.mmap, ...]:
        """Return what of the files has been mapped so far; it stays mapped when they are closed."""
        return tuple(file.mapping for file in self._files.values() if file.mapping is not None)

    def verify(self, entry: FileEntry) -> None:
        """Compare a file with what the manifest says of it.

        Raises:
            ArtifactInvalidError: it differs.
        """
        file = self.open(entry.name)
        if file.size != entry.bytes:
            raise ArtifactInvalidError(f"{file.path} has {file.size} bytes, its manifest says {entry.bytes}")
        if file.sha256() != entry.sha256:
            raise ArtifactInvalidError(f"{file.path} does not have the hash in its manifest: it was altered or damaged")

    def _open(self, name: str) -> OpenFile:
        path = self.folder / name
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._descriptor)
        except FileNotFoundError as error:
            raise ArtifactInvalidError(f"{path} is missing") from error
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
                raise ArtifactInvalidError(f"{path} is not a regular file") from error
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise ArtifactInvalidError(f"{path} is not a regular file")
        return OpenFile(path, descriptor, status.st_size)


@contextlib.contextmanager
def files_of(run: Path | RunFiles) -> Iterator[RunFiles]:
    """Give the files of a folder, closed at the end; those that are open already stay open."""
    if isinstance(run, RunFiles):
        yield run
    else:
        with RunFiles.at(run) as files:
            yield files
