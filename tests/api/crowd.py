"""Threads that ask a replica without a pause, for as long as a ``with`` block lasts."""

from __future__ import annotations

import abc
import threading
from typing import Self


class Crowd(abc.ABC):
    """Callers that each do :meth:`ask` until the block ends.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int = 4) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(threads)]

    @property
    def over(self) -> bool:
        """Whether the callers should stop."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, and return early once the callers should stop; return whether they should."""
        return self._stop.wait(seconds)

    @abc.abstractmethod
    def ask(self, number: int) -> None:
        """Ask until it is over; ``number`` says which thread this is."""

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is under way, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
