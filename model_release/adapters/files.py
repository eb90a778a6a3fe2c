"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fsync_directory(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None: it is not there, or can't be looked at."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``: a reader, or a crash at any moment, finds all of the old or all of the new.

    Raises:
        OSError: it could not be written; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with room_for(path, len(data), Path(temporary)), os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    fsync_directory(path.parent)


def write_file(path: Path, *content: Any) -> None:
    """Write a new file from bytes-like pieces, of any type and shape but contiguous.

    Raises:
        OSError: it could not be written; a full disk says how many bytes were missing.
    """
    views = [memoryview(piece) for piece in content]
    with room_for(path, sum(view.nbytes for view in views)), path.open("wb") as file:
        for view in views:
            file.write(view)


@contextlib.contextmanager
def room_for(path: Path, size: int, written_to: Path | None = None) -> Iterator[None]:
    """Say of a write that finds the disk, the quota or the allowed size full: of which file, and what was missing.

    Args:
        path: the file, as it is called in the message.
        size: how many bytes it will have.
        written_to: where they are written, if not to ``path``.

    Raises:
        OSError: with the number of the original error; ``strerror`` says it all, ``filename`` is ``path``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        try:
            done = min((written_to or path).stat().st_size, size)
        except FileNotFoundError:
            done = 0
        message = (
            f"{os.strerror(error.errno)}: {path.name} needs {size} bytes and {size - done} of them found no room; "
            "make room and try again"
        )
        raise OSError(error.errno, message, str(path)) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
