"""Record every answer without making anybody wait: a bounded queue, and one thread that writes what is in it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import orjson

from model_release.exposures import SCHEMA_VERSION, NewOutcome, safe_replica, timestamp
from recommendation_api.exposure_writer import Entry, ExposureWriter, Limits
from recommendation_api.settings import Settings

_log = logging.getLogger("recommendation_api")
_PIECE = 128  # lines of one write: the thread holds the interpreter for well under a millisecond
_RETRY_SECONDS = 1.0
_COMPLAINT_SECONDS = 60.0
_STOP_SECONDS = 5.0
_MEGABYTE = 1_000_000

EVENT = "event"
QUEUE_FULL, DISK, INVALID = "queue_full", "disk", "invalid"

Record = tuple[
    float, str, str, str, int, str | None, str, str | None, int, Sequence[str], bool, str | None, float
]  # fmt: skip
"""An answer: at (Unix seconds), request_id, endpoint, id, k, run_id, variant, release_id of the trial under way,
generation, items, known, degraded, latency in seconds."""

Count = Callable[[str, int], None]


class ExposureLog:
    """The log of one worker process.

    Args:
        settings: of the replica.
        worker: slot of this worker process, from 0.
        on_written: told how many lines of a variant, or of ``"event"``, the operating system has; from the thread.
        on_dropped: told how many records were dropped and why: ``queue_full``, ``disk`` (the queue is full since the
            disk takes nothing) or ``invalid`` (a record that is not JSON); from whichever thread drops.

    Attributes:
        written: the same, counted from the start.
        dropped: the same, counted from the start.
        failing: whether the last write failed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker: int = 0,
        on_written: Count | None = None,
        on_dropped: Count | None = None,
    ) -> None:
        self.written: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.failing = False
        self._on_written = on_written
        self._on_dropped = on_dropped
        self._folder = settings.paths.exposures
        self._pause = settings.exposure_flush_seconds
        self._size = settings.exposure_queue
        self._origin = {"replica": settings.replica, "worker": worker}
        limits = Limits(
            file_bytes=settings.exposure_file_megabytes * _MEGABYTE,
            keep_bytes=settings.exposure_keep_megabytes * _MEGABYTE,
            keep_days=settings.exposure_keep_days,
        )
        self._writer = ExposureWriter(
            self._folder, replica=safe_replica(settings.replica), worker=worker, limits=limits
        )
        self._queue: deque[Record | Entry] = deque()
        self._taken: list[Entry] = []  # out of the queue, not yet in a file
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="exposures", daemon=True)
        self._retry_at = float("-inf")
        self._complain_at = float("-inf")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, as far as the disk takes it, and end the thread; takes 5 seconds at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def append(self, record: Record) -> None:
        """Take an answer into the queue; never waits and never raises."""
        if len(self._queue) < self._size:
            self._queue.append(record)
        else:
            self._drop(DISK if self.failing else QUEUE_FULL, 1)

    def take(self, outcomes: Sequence[NewOutcome], received_at: float) -> bool:
        """Take outcomes into the queue, all or none; return whether there was room and the disk takes lines."""
        if self.failing or self._stopping.is_set() or len(self._queue) + len(outcomes) > self._size:
            return False
        self._queue.extend([(received_at, self._outcome_line(one, received_at), EVENT) for one in outcomes])
        return True

    def _outcome_line(self, outcome: NewOutcome, received_at: float) -> bytes:
        line = {
            "schema_version": SCHEMA_VERSION,
            "kind": EVENT,
            "at": timestamp(outcome.at.timestamp()),
            "received_at": timestamp(received_at),
            "user": outcome.user,
            "item": outcome.item,
            "type": outcome.type,
            "request_id": outcome.request_id,
            **self._origin,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def line(self, record: Record) -> bytes:
        """Return the line for an answer."""
        (at, request_id, endpoint, identifier, k, run_id, variant, release_id, generation,
         items, known, degraded, seconds) = record  # fmt: skip
        line = {
            "schema_version": SCHEMA_VERSION,
            "kind": "exposure",
            "at": timestamp(at),
            "request_id": request_id,
            "endpoint": endpoint,
            "id": identifier,
            "k": k,
            "run_id": run_id,
            "variant": variant,
            "release_id": release_id,
            "generation": generation,
            "items": items,
            "known": known,
            "degraded": degraded,
            "latency_ms": round(seconds * 1000, 3),
            **self._origin,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _work(self) -> None:
        while not self._stopping.wait(self._pause):
            self._turn()
        self._retry_at = float("-inf")
        self._turn()
        self._drop(DISK, len(self._taken) + len(self._queue))
        try:
            self._writer.close()
        except OSError as error:
            self._complain("the last lines may not survive a loss of power", error)

    def _turn(self) -> None:
        try:
            self._flush()
            self._writer.look_after(time.time())
        except OSError as error:
            self._complain("exposure files can't be looked after", error)
        except Exception:  # noqa: BLE001  (a thread that ended would lose every later answer)
            _log.error("the exposure log failed", exc_info=True)

    def _flush(self) -> None:
        """Write piece by piece until nothing waits or the disk refuses."""
        if time.monotonic() < self._retry_at:
            return
        while self._taken or self._queue:
            if not self._taken:
                self._taken = self._encode()
            elif not self._write():
                return

    def _encode(self) -> list[Entry]:
        entries: list[Entry] = []
        for _ in range(min(_PIECE, len(self._queue))):
            record = self._queue.popleft()
            if len(record) == 3:  # noqa: PLR2004  (an outcome, which is a line already)
                entries.append(record)
                continue
            try:
                entries.append((record[0], self.line(record), record[6]))
            except Exception:  # noqa: BLE001  (one odd record costs no other one its line)
                self._drop(INVALID, 1)
        return entries

    def _write(self) -> bool:
        try:
            count = self._writer.write(self._taken)
        except OSError as error:
            self.failing = True
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._complain("exposures can't be written", error)
            return False
        if self.failing:
            self.failing = False
            _log.warning(
                "exposures are written again; %d records were dropped since the start", sum(self.dropped.values())
            )
        counts = Counter(label for _, _, label in self._taken[:count])
        del self._taken[:count]
        self.written.update(counts)
        if self._on_written is not None:
            for label, number in counts.items():
                self._on_written(label, number)
        return True

    def _drop(self, reason: str, count: int) -> None:
        if not count:
            return
        self.dropped[reason] += count
        if self._on_dropped is not None:
            self._on_dropped(reason, count)
        if reason != DISK:  # which says so itself
            self._complain(f"exposures are dropped: {reason}")

    def _complain(self, what: str, error: OSError | None = None) -> None:
        """Log once a minute, whatever happens how often."""
        now = time.monotonic()
        if now < self._complain_at:
            return
        self._complain_at = now + _COMPLAINT_SECONDS
        why = f": {error.strerror or type(error).__name__}" if error is not None else ""
        _log.error("%s in %s%s; requests go on", what, self._folder, why)
