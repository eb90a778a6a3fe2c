"""The ledger as JSON lines: append-only, fsynced, safe against writers that die half-way."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from model_release.adapters.files import fsync_directory
from model_release.errors import StateBusyError, StateCorruptError
from model_release.ledger import LedgerEntry
from model_release.paths import ReleasePaths
from model_release.versions import later_version


class FileLedger:
    """A ``Ledger`` in ``models/release_ledger.jsonl``."""

    def __init__(self, paths: ReleasePaths, *, lock_timeout_seconds: float = 30.0) -> None:
        self._path = paths.ledger
        self._lock_timeout_seconds = lock_timeout_seconds

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, entry: LedgerEntry) -> bool:
        """Write ``entry`` as one line and sync it, unless the same fact (``entry.key``) is there already.

        Raises:
            StateBusyError: the lock was not free in time.
            StateCorruptError: the ledger is damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{self._path}.lock", timeout=self._lock_timeout_seconds):
                if any(known.key == entry.key for known in self.read()):
                    return False
                new = not self._path.exists()
                with self._path.open("ab") as file:
                    self._drop_torn_tail()
                    file.write(entry.model_dump_json().encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                if new:
                    fsync_directory(self._path.parent)
                return True
        except Timeout as error:
            raise StateBusyError(f"the lock of {self._path} was not free in time; retry") from error

    def read(self) -> list[LedgerEntry]:
        """Return all entries, oldest first.

        A last line without its newline was never acknowledged and does not count.

        Raises:
            StateCorruptError: a complete line is not a valid entry; the message names it.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        lines = content.split(b"\n")[:-1]
        return [parse_line(self._path, number, line) for number, line in enumerate(lines, start=1)]

    def _drop_torn_tail(self) -> None:
        """Cut what a writer left that died between two bytes; its caller never got an answer."""
        content = self._path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete != len(content):
            os.truncate(self._path, complete)


def parse_line(path: Path, number: int, line: bytes) -> LedgerEntry:
    """Return line ``number`` of the ledger at ``path``.

    Raises:
        StateCorruptError: it is not a valid entry.
    """
    try:
        return LedgerEntry.model_validate_json(line)
    except ValidationError as error:
        later = later_version(error.errors(include_url=False), LedgerEntry)
        if later is not None:
            raise StateCorruptError(f"{path} line {number}: {later}; nothing was changed") from error
        raise StateCorruptError(
            f"{path} line {number} is not a valid ledger entry; restore the file from a backup"
        ) from error
