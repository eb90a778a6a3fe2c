"""When there is more to do than can be done: refuse early, with a hint to come back, instead of answering all too late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")
_TICK_SECONDS = 0.02
_LATE_TICKS = 3  # one pause, of a garbage collection or a busy machine, is no overload
Refusal = Literal["late", "busy"]


class Overload:
    """Watches how late the event loop is, and how many slow answers are under way.

    Requests wait in the event loop for their turn: how late a timer fires is how long they wait.

    Args:
        late_seconds: how late the loop may be, three times in a row, before requests are refused.
        threads: threads for models that take long.
        waiting: slow answers that may be under way or wait for a thread.
        timeout_seconds: how long a slow answer may take.
    """

    def __init__(self, *, late_seconds: float, threads: int, waiting: int, timeout_seconds: float) -> None:
        self.lag_seconds = 0.0
        self._ticked: float | None = None
        self._late_seconds = late_seconds
        self._late_ticks = 0
        self._waiting = waiting
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="score")
        self._under_way = 0
        self._lock = threading.Lock()

    def refuse(self) -> Refusal | None:
        """Return why the next request should be refused; None: it should not."""
        if self._late_ticks >= _LATE_TICKS:
            return "late"
        return "busy" if self._under_way >= self._waiting else None

    def measured(self, lag_seconds: float) -> None:
        """Take note of how late the loop was this time."""
        self.lag_seconds = lag_seconds
        self._late_ticks = self._late_ticks + 1 if lag_seconds > self._late_seconds else 0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + _TICK_SECONDS
            self._ticked = due - _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.measured(time.monotonic() - due)

    def silent_seconds(self) -> float:
        """Return how long ago the event loop last got to measure: a loop that hangs does not; from any thread."""
        return 0.0 if self._ticked is None else time.monotonic() - self._ticked

    async def in_thread(self, ask: Callable[[], _T]) -> _T:
        """Do ``ask`` in a thread.

        Raises:
            TimeoutError: it took too long; what it finds is thrown away, and it counts as under way until it ends.
        """
        with self._lock:
            self._under_way += 1
        future = self._pool.submit(ask)
        future.add_done_callback(self._ended)
        return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_seconds)

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self._under_way -= 1
