"""The ledger for whoever looks often: what was read before is not read again, for it only grows."""

from __future__ import annotations

import threading
from pathlib import Path

from model_release.adapters.file_ledger import parse_line
from model_release.adapters.files import mark_of
from model_release.ledger import LedgerEntry
from model_release.paths import ReleasePaths

_LAST_BYTES = 4096  # of what was read, compared with what is there now: another file is read from its start


class LedgerReader:
    """Reads ``models/release_ledger.jsonl``; may be asked by several threads."""

    def __init__(self, paths: ReleasePaths) -> None:
        self._path: Path = paths.ledger
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._entries: tuple[LedgerEntry, ...] = ()
        self._read = 0  # bytes
        self._tail = b""

    def read(self) -> tuple[LedgerEntry, ...]:
        """Return all entries, oldest first; the same object as before if nothing was added.

        Raises:
            StateCorruptError: a complete line is not a valid entry; the message names it.
        """
        with self._lock:
            mark = mark_of(self._path)
            if mark is None:
                self._forget()
            elif mark != self._mark:
                if self._mark is not None and mark[0] != self._mark[0]:
                    self._forget()  # another file took its place
                self._go_on()
                self._mark = mark
            return self._entries

    def _go_on(self) -> None:
        with self._path.open("rb") as file:
            file.seek(max(0, self._read - len(self._tail)))
            if file.read(len(self._tail)) != self._tail:
                self._forget()
                file.seek(0)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        first = len(self._entries) + 1
        lines = complete.split(b"\n")[:-1]
        self._entries += tuple(parse_line(self._path, first + number, line) for number, line in enumerate(lines))
        self._read += len(complete)
        self._tail = (self._tail + complete)[-_LAST_BYTES:]

    def _forget(self) -> None:
        self._mark, self._entries, self._read, self._tail = None, (), 0, b""
