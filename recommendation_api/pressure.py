"""How the event loop fares: whether there is time to spare for work that nobody waits for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

_OWN_SCHEDULE = Path("/proc/thread-self/schedstat")  # nanoseconds on a CPU, nanoseconds waiting for one, turns
_LATE_SECONDS = 0.01
_BUSY_SHARE = 0.7
_WAITING_SHARE = 0.12


class Load(NamedTuple):
    """What the thread of an event loop did for a while.

    Attributes:
        lag_seconds: how late a timer was.
        busy_share: share of the time in which it computed.
        waiting_share: share of the time in which it could have, and another program or thread had the CPU.
    """

    lag_seconds: float = 0.0
    busy_share: float = 0.0
    waiting_share: float = 0.0

    @property
    def spare(self) -> bool:
        """Whether there is time to spare."""
        return (
            self.lag_seconds <= _LATE_SECONDS
            and self.busy_share <= _BUSY_SHARE
            and self.waiting_share <= _WAITING_SHARE
        )


class LoopWatch:
    """Looks at the thread that it is called in."""

    def __init__(self) -> None:
        self._wall, self._busy, self._waited = time.monotonic(), time.thread_time(), _waited_seconds()

    def look(self, timer_seconds: float) -> Load:
        """Return the load since the last look; a timer of ``timer_seconds`` was all that lay between them."""
        wall, busy, waited = time.monotonic(), time.thread_time(), _waited_seconds()
        passed = max(wall - self._wall, 1e-6)
        load = Load(passed - timer_seconds, (busy - self._busy) / passed, (waited - self._waited) / passed)
        self._wall, self._busy, self._waited = wall, busy, waited
        return load


def _waited_seconds() -> float:
    """Return how long this thread has waited for a CPU; 0 where the system does not say (only Linux does)."""
    try:
        return int(_OWN_SCHEDULE.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
