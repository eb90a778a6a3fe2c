"""Which file of the exposure log lines go to: one for each UTC day, worker and so many bytes."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recommendation_api.exposure_file import ExposureFile
from recommendation_api.exposure_retention import prune

_DAY_SECONDS = 86_400
_SYNC_SECONDS = 1.0
_PRUNE_SECONDS = 600.0

Entry = tuple[float, bytes, str]
"""When it happened or came in (Unix seconds), its line, and what it counts as."""


@dataclass(frozen=True)
class Limits:
    """When a file is full, and what is kept of all files together."""

    file_bytes: float
    keep_bytes: float
    keep_days: int


class ExposureWriter:
    """The files of one worker; used by one thread.  After an error the next write begins a new file."""

    def __init__(self, folder: Path, *, replica: str, worker: int, limits: Limits) -> None:
        self._folder = folder
        self._replica = replica
        self._worker = worker
        self._limits = limits
        self._file: ExposureFile | None = None
        self._number = 0
        self._day = 0
        self._synced_at = time.monotonic()
        self._pruned_at = float("-inf")

    def write(self, entries: Sequence[Entry]) -> int:
        """Write the first entries of the same day, as far as they go; return how many, at least one.

        Raises:
            OSError: none was written.
        """
        at = entries[0][0]
        day = _day(at)
        today = list(itertools.takewhile(lambda entry: _day(entry[0]) == day, entries))
        try:
            file = self._open(at, day)
            return file.write([line for _, line, _ in today])
        except OSError:
            with contextlib.suppress(OSError):  # the first error says more
                self.close()
            raise

    def look_after(self, now: float) -> None:
        """Sync every second, close the file of a day that is over, remove what is not kept; ``now`` in Unix seconds.

        Raises:
            OSError: one of these failed; the next call tries again.
        """
        file, clock = self._file, time.monotonic()
        if file is not None and (_day(now) > self._day or file.removed):
            self.close()
        elif file is not None and clock - self._synced_at >= _SYNC_SECONDS:
            self._synced_at = clock
            try:
                file.sync()
            except OSError:
                with contextlib.suppress(OSError):
                    self.close()
                raise
        if clock - self._pruned_at >= _PRUNE_SECONDS:
            self._prune(now)

    def close(self) -> None:
        """Sync and close the file.

        Raises:
            OSError: it could not be synced; it is closed all the same.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self, at: float, day: int) -> ExposureFile:
        """Return the file for a line of ``day``: the one at hand, or a new one that begins ``at``."""
        file = self._file
        if file is not None and (day != self._day or file.bytes >= self._limits.file_bytes):
            self.close()
            file = None
        if file is None:
            file = ExposureFile.create(
                self._folder, replica=self._replica, worker=self._worker, start=at, number=self._number
            )
            self._file, self._day = file, day
            self._number = file.name.number + 1
            self._pruned_at = float("-inf")
        return file

    def _prune(self, now: float) -> None:
        self._pruned_at = time.monotonic()
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        prune(self._folder, now=moment, keep_bytes=self._limits.keep_bytes, keep_days=self._limits.keep_days)


def _day(at: float) -> int:
    return int(at // _DAY_SECONDS)
