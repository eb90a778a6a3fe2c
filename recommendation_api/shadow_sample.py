"""What the event loop hands to the scoring thread, and what that thread is doing with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from recommendation_api.serving import Serving
from recommendation_api.shadow_metrics import PairMetrics, ShadowMetrics


class Pair(PairMetrics):
    """A current run and its candidate.

    Attributes:
        key: ids of the two.
        head: the current run's most popular items.
        seen: Unix time at which a request was last drawn.
        stuck: the candidate was given up on while it made an answer, and has not come back.
        logged: monotonic time of the last failure that was logged.
    """

    def __init__(self, metrics: ShadowMetrics, key: tuple[str, str], head: Sequence[str]) -> None:
        super().__init__(metrics, *key)
        self.key = key
        self.head = frozenset(head)
        self.seen = time.time()
        self.stuck = False
        self.logged = float("-inf")


class Sample(NamedTuple):
    """One answered request, to be answered again by the candidate; ``offered``: monotonic time."""

    pair: Pair
    serving: Serving
    endpoint: str
    identifier: str
    k: int
    served: Sequence[str]
    served_seconds: float
    offered: float


class Turn:
    """What one scoring thread is doing; a thread that hangs in a candidate is given up on, and another one takes over.

    Whoever ends a sample counts its outcome: the thread itself, or the one that gave up on it, never both.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sample: Sample | None = None
        self._began = 0.0
        self.given_up = False

    def begin(self, sample: Sample) -> None:
        """Note that the candidate is asked now."""
        with self._lock:
            self._sample, self._began = sample, time.monotonic()

    def end(self) -> bool:
        """Note that the candidate came back; return whether the outcome is this thread's to count."""
        with self._lock:
            if self.given_up and self._sample is not None:
                self._sample.pair.stuck = False
            self._sample = None
            return not self.given_up

    def give_up(self, after_seconds: float) -> Sample | None:
        """Return the sample that has been in work for longer than this; its outcome is the caller's to count."""
        with self._lock:
            sample = self._sample
            if self.given_up or sample is None or time.monotonic() - self._began <= after_seconds:
                return None
            self.given_up = sample.pair.stuck = True
            return sample
