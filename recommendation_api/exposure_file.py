"""One file of the exposure log: made by this process, locked while it is written, and never opened for writing again."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from model_release.adapters.files import fsync_directory
from model_release.exposures import FileName


class ExposureFile:
    """A file that takes whole lines.  The lock says "being written": it ends with the process, however that ends."""

    def __init__(self, path: Path, name: FileName, handle: int) -> None:
        self.path = path
        self.name = name
        self.bytes = 0
        self._handle = handle
        self._synced = 0

    @classmethod
    def create(cls, folder: Path, *, replica: str, worker: int, start: float, number: int) -> Self:
        """Make a new file, with the first free number from ``number`` on.

        Raises:
            OSError: it can't be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        moment = dt.datetime.fromtimestamp(int(start), dt.UTC)
        while True:
            name = FileName(start=moment, replica=replica, worker=worker, number=number)
            path = folder / str(name)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except FileExistsError:  # a replica of the same name began in the same second
                number += 1
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fsync_directory(folder)
            except OSError:
                os.close(handle)
                path.unlink(missing_ok=True)
                raise
            return cls(path, name, handle)

    @property
    def removed(self) -> bool:
        """Whether somebody took the file away: what is written now would be lost with this process."""
        return os.fstat(self._handle).st_nlink == 0

    def write(self, lines: Sequence[bytes]) -> int:
        """Append lines with one call of the system; return how many are in the file, at least one.

        Raises:
            OSError: none is.
        """
        data = b"".join(lines)
        written = os.write(self._handle, data)
        whole = written if written == len(data) else data.rfind(b"\n", 0, written) + 1
        if whole < written:  # the disk is full
            os.ftruncate(self._handle, self.bytes + whole)
        self.bytes += whole
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(lines) if whole == len(data) else data.count(b"\n", 0, whole)

    def sync(self) -> None:
        """Let what was written survive a loss of power.

        Raises:
            OSError: it may not.
        """
        if self._synced != self.bytes:
            os.fsync(self._handle)
            self._synced = self.bytes

    def close(self) -> None:
        """Sync and let go; an empty file is removed.

        Raises:
            OSError: what was written last may be lost with the machine's power.  The file is closed all the same.
        """
        try:
            self.sync()
        finally:
            if not self.bytes:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            os.close(self._handle)


def being_written(path: Path) -> bool:
    """Whether a living process holds the file, or it can't be found out."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)
