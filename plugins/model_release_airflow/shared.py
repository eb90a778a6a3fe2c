"""Questions that many triggers of one triggerer ask at the same time: asked once, answered to all.

What a trigger finds out only wakes the worker, which asks for itself before it decides.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_PAUSE = 30.0  # seconds between two questions to a service that does not answer
# The scheduler takes a task that is queued again before it heard that the deferring process has ended for a task that died
# (apache/airflow #71580, #72716): seen after 6 s, on a machine with five times the work it could do.
MINIMUM_LIFE_SECONDS = 10.0
_LATER = 0.1  # share of a pause that is added at random, so that those who began together drift apart


@dataclass
class _Flight:
    """A question under way, or answered."""

    began_at: float  # time of the event loop
    fresh_seconds: float  # the longest that anybody wanted it for
    task: asyncio.Task[Any]


@dataclass
class Questions:
    """Answers by question; an answer is as old as the moment at which the question was asked.

    A question is known by its key: whatever the answer depends on belongs into it, the token by the connection's name.
    Nobody gets an answer that is ``fresh_seconds`` old or older, so whoever pauses that long never gets the same one
    twice.  An error is an answer.  Each event loop has its own answers.

    Attributes:
        threads: how many questions may block at once; those of one object never wait for another's.
        asked: how often somebody asked.
        made: how often the question was really made.
    """

    threads: int
    asked: int = 0
    made: int = 0
    _loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Flight]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def ask(self, key: Hashable, fresh_seconds: float, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to the question ``key``, somebody else's if it is fresh enough.

        An asker that is cancelled leaves the question alone: others may wait for it.

        Args:
            key: names the question, with all that the answer depends on.
            fresh_seconds: how old the answer may be; 0 always asks.
            question: asks.

        Raises:
            BaseException: whatever ``question`` raised.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            self.asked += 1
            flights = self._loops.setdefault(loop, {})
        now, flight = loop.time(), flights.get(key)
        if flight is None or flight.task.cancelled() or not now - flight.began_at < fresh_seconds:
            self._forget(flights, now)
            with self._lock:
                self.made += 1
            flight = _Flight(now, fresh_seconds, loop.create_task(_awaited(question)))
            flight.task.add_done_callback(_seen)
            flights[key] = flight
        flight.fresh_seconds = max(flight.fresh_seconds, fresh_seconds)
        answer: T = await asyncio.shield(flight.task)
        return answer

    async def ask_in_thread(self, key: Hashable, fresh_seconds: float, question: Callable[[], T]) -> T:
        """Return the answer of a function that blocks; see :meth:`ask`."""
        return await self.ask(key, fresh_seconds, functools.partial(self.in_thread, question))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run what blocks in a thread of these questions."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, function)

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="shared-question")

    def _forget(self, flights: dict[Hashable, _Flight], now: float) -> None:
        old = [key for key, one in flights.items() if one.task.done() and now - one.began_at >= one.fresh_seconds]
        for key in old:
            del flights[key]


# Of their own: while Prometheus does not answer, a lease must still be renewed in time.
EVIDENCE = Questions(threads=16)
REPLICAS = Questions(threads=16)


def pause(poll_seconds: float, *, first: bool = False) -> float:
    """Return how long to sleep before the next look: never shorter than ``poll_seconds``, but for the first.

    A triggerer that starts gets all its triggers at once; they must not stay in step.
    """
    low, high = (0.5, 1.0) if first else (1.0, 1.0 + _LATER)
    return poll_seconds * random.uniform(low, high)  # noqa: S311  (no secret)


class Pace:
    """When to ask a service again: at every look; while it does not answer, after twice the pause each time.

    :param poll_seconds: The pause between two looks.
    """

    def __init__(self, poll_seconds: float) -> None:
        self.poll_seconds = poll_seconds
        self._pause = poll_seconds
        self._next = 0.0

    def due(self, now: float) -> bool:
        """Whether it may be asked; ``now`` as a monotonic clock has it."""
        return now >= self._next

    def note(self, now: float, *, answered: bool) -> None:
        """Remember whether it answered when it was asked at ``now``."""
        self._pause = self.poll_seconds if answered else min(2.0 * self._pause, max(self.poll_seconds, LONGEST_PAUSE))
        self._next = 0.0 if answered else now + self._pause


async def outlive_deferral(began: float, at_most: float = math.inf) -> None:
    """Sleep until a trigger that began at Unix time ``began`` may fire: after ``MINIMUM_LIFE_SECONDS``, or ``at_most``."""
    await asyncio.sleep(max(0.0, began + min(MINIMUM_LIFE_SECONDS, at_most) - time.time()))


async def _awaited(question: Callable[[], Awaitable[T]]) -> T:
    return await question()


def _seen(task: asyncio.Task[Any]) -> None:
    """Look at the error, if there is one: when all who asked are gone, asyncio need not complain."""
    if not task.cancelled():
        task.exception()
