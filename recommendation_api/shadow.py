"""Score requests with a shadow candidate, off the response path: one thread, a bounded queue, shed first under load.

docs/decisions/0051-shadow-in-a-thread-that-yields.md has the figures behind the constants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence

from model_release import golden
from recommendation_api.metrics import Metrics
from recommendation_api.pressure import Load, LoopWatch
from recommendation_api.serving import Serving
from recommendation_api.shadow_counts import MOST_PAIRS, last
from recommendation_api.shadow_exposition import PairState
from recommendation_api.shadow_sample import Pair, Sample, Turn

_log = logging.getLogger("recommendation_api")
_HEAD = 100  # most popular items of the current run
_NICENESS = 10
_SWITCH_SECONDS = (
    0.0005  # how long Python code of one thread may keep another thread waiting; Python's default is 0.005
)
_NAP_SECONDS = 0.02  # after waking up: the answer that the sample is of goes out first, and more samples gather
_REST = 1.0  # the thread rests as long as it worked: it takes at most half of the time in which Python code can run
_WATCH_SECONDS = 0.05
_SHED_SECONDS = 1.0  # after a sign of pressure
_LOG_SECONDS = 60.0  # between two failures of one pair that are logged


class Shadow:
    """Scores a share of the requests with the candidate; what it finds goes to the metrics and nowhere else.

    :meth:`offer`, :meth:`follow`, :meth:`set_pressure` and :meth:`watch` belong to the thread of the event loop; it has to
    be one thread.

    Args:
        metrics: where it counts.
        size: samples that may wait.
        desired: what is served at this moment; samples of another pair are dropped.
        expire_seconds: a sample that waited longer is not worth scoring.
        hang_seconds: a candidate that takes longer is given up on, until it comes back by itself.
    """

    def __init__(
        self,
        metrics: Metrics,
        size: int,
        desired: Callable[[], Serving],
        *,
        expire_seconds: float = 10.0,
        hang_seconds: float = 10.0,
    ) -> None:
        self._metrics = metrics
        self._size = size
        self._desired = desired
        self._expire_seconds = expire_seconds
        self._hang_seconds = hang_seconds
        self._queue: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()  # its put takes no lock of Python's
        self._pairs: dict[tuple[str, str], Pair] = {}  # the one that was on trial last stands last
        self._serving: Serving | None = None  # what ``_pair`` and ``_rollout`` are of
        self._pair: Pair | None = None
        self._rollout = 0.0
        self._pressed = False
        self._pressed_until = float("-inf")
        self._turn = Turn()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._begin_thread()

    def stop(self) -> None:
        """Stop the thread; samples that still wait are dropped."""
        self._size = 0
        with contextlib.suppress(queue.Empty):
            while (sample := self._queue.get_nowait()) is not None:
                sample.pair.count("dropped")
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=5)

    def offer(
        self, serving: Serving, endpoint: str, identifier: str, k: int, served: Sequence[str], served_seconds: float
    ) -> None:
        """Draw a share of the requests and let them wait to be scored; takes microseconds and never waits.

        Args:
            serving: what the request was answered from, in a shadow trial.
            endpoint: ``recommend`` or ``similar``.
            identifier: user or item.
            k: length that was asked for.
            served: items that the user got.
            served_seconds: time the current run took for them.
        """
        self.follow(serving)
        pair = self._pair
        if pair is None or random.random() >= self._rollout:  # noqa: S311  (a sample, not a secret)
            return
        pair.seen = time.time()
        if self._pressed or pair.stuck or self._queue.qsize() >= self._size:
            pair.count("dropped")
            return
        self._queue.put(Sample(pair, serving, endpoint, identifier, k, served, served_seconds, time.monotonic()))

    def follow(self, serving: Serving) -> None:
        """Begin the trial of ``serving``, if it is a shadow trial: its series are there, with 0, before any request is.

        Without them nobody could tell a replica that got no request yet from one that does not take part.
        """
        if serving is self._serving:
            return
        self._serving, self._pair = serving, None
        try:
            self._find_pair(serving)
        except Exception:  # noqa: BLE001  (the storage of the metrics may be full; the user gets the answer)
            _log.warning("no shadow trial here: its metrics can't be made", exc_info=True)

    def set_pressure(self, lag_seconds: float, busy_share: float = 0.0, waiting_share: float = 0.0) -> None:
        """Say how the event loop fares, see ``pressure.Load``: shadow work is what is shed first."""
        now = time.monotonic()
        if not Load(lag_seconds, busy_share, waiting_share).spare:
            self._pressed_until = now + _SHED_SECONDS
        self._pressed = now < self._pressed_until

    def replace_hung(self) -> bool:
        """Give up on a candidate that hangs: count its sample as failed, go on in another thread; return whether it was so.

        One thread at most is left behind for a candidate, until that comes back.
        """
        sample = self._turn.give_up(self._hang_seconds)
        if sample is None:
            return False
        sample.pair.count("failed")
        _log.warning("the shadow candidate %s hangs; no more is asked of it", sample.pair.key[1])
        self._begin_thread()
        return True

    async def watch(self) -> None:
        """Look at the event loop, at the candidate and at what is on trial, for ever: a task of the loop that serves."""
        loop = LoopWatch()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self.set_pressure(*loop.look(_WATCH_SECONDS))
            self.replace_hung()
            self.follow(self._desired())

    def states(self) -> list[PairState]:
        """Return what this process knows of the pairs that were on trial last; from any thread."""
        return [
            PairState(
                current=pair.key[0],
                candidate=pair.key[1],
                seen=pair.seen,
                distinct={variant: sketch.dump() for variant, sketch in pair.distinct.items()},
            )
            for pair in self._pairs.values()
        ]

    def _find_pair(self, serving: Serving) -> None:
        """Find the pair of another ``serving``: the rare part of :meth:`follow`."""
        key, trial = _key(serving), serving.registry.candidate
        if key is None or trial is None or serving.current is None:
            return
        pair = self._pairs.get(key) or Pair(self._metrics.shadow, key, serving.current.fallback[:_HEAD])
        self._pairs = last(self._pairs, key, pair, MOST_PAIRS)
        self._pair, self._rollout = pair, trial.rollout

    def _begin_thread(self) -> None:
        self._turn = Turn()
        self._thread = threading.Thread(target=self._work, args=(self._turn,), name="shadow", daemon=True)
        self._thread.start()

    def _work(self, turn: Turn) -> None:
        _yield_to_others()
        while (sample := self._next()) is not None:
            began = time.perf_counter()
            self._take(sample, turn)
            del sample  # it holds the runs of its trial in memory, and the next one may come in weeks
            if turn.given_up:
                return
            time.sleep(_REST * (time.perf_counter() - began))

    def _next(self) -> Sample | None:
        with contextlib.suppress(queue.Empty):
            return self._queue.get_nowait()
        sample = self._queue.get()
        time.sleep(_NAP_SECONDS)
        return sample

    def _take(self, sample: Sample, turn: Turn) -> None:
        pair = sample.pair
        if self._pressed or pair.stuck or _key(self._desired()) != pair.key:
            pair.count("dropped")
        elif time.monotonic() - sample.offered > self._expire_seconds:
            pair.count("expired")
        else:
            turn.begin(sample)
            try:
                self._score(sample, turn)
            except BaseException:  # noqa: BLE001  (whatever a candidate does, even SystemExit, this thread goes on)
                self._fail(pair, turn)

    def _score(self, sample: Sample, turn: Turn) -> None:
        candidate = sample.serving.candidate
        if candidate is None:
            raise LookupError("a shadow trial without a candidate")
        began = time.perf_counter()
        found = golden.answer(candidate.model, sample.endpoint, sample.identifier, sample.k)
        seconds = time.perf_counter() - began
        _check(found, sample.k)
        if not turn.end():
            return
        sample.pair.compare(sample.served, found, sample.pair.head)
        sample.pair.time(sample.served_seconds, seconds)
        sample.pair.count("scored")

    def _fail(self, pair: Pair, turn: Turn) -> None:
        if not turn.end():
            return
        pair.count("failed")
        if time.monotonic() - pair.logged > _LOG_SECONDS:
            pair.logged = time.monotonic()
            _log.warning("the shadow candidate %s failed", pair.key[1], exc_info=True)


def _key(serving: Serving) -> tuple[str, str] | None:
    """Return the ids of the pair in a shadow trial."""
    if serving.current is None or serving.candidate is None or not serving.in_shadow(time.time()):
        return None
    return serving.current.run_id, serving.candidate.run_id


def _check(found: Sequence[str], k: int) -> None:
    """Refuse what no list of a run can be."""
    if len(found) > k or len(set(found)) != len(found) or not all(isinstance(item, str) for item in found):
        raise ValueError(f"the candidate's answer is not a list of at most {k} different ids")


def _yield_to_others() -> None:
    """Lower the priority of this thread alone, where the system can do that; a refusal is no harm."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
