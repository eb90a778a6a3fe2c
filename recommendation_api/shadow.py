"""Score requests with a shadow candidate, off the response path: bounded, in one thread, dropped under load."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from model_release import golden
from recommendation_api.metrics import Metrics
from recommendation_api.serving import Serving

_log = logging.getLogger("recommendation_api")


@dataclass(frozen=True)
class Sample:
    """One answered request, to be answered again by the candidate."""

    serving: Serving
    endpoint: str
    identifier: str
    k: int
    served: Sequence[str]


class Shadow:
    """The thread that scores samples; what it finds goes to the metrics and nowhere else."""

    def __init__(self, metrics: Metrics, size: int) -> None:
        self._metrics = metrics
        self._queue: queue.Queue[Sample | None] = queue.Queue(maxsize=size)
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; samples that still wait are dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(None)
        self._thread.join(timeout=5)

    def offer(self, serving: Serving, endpoint: str, identifier: str, k: int, served: Sequence[str]) -> None:
        """Take a share of the requests into the queue; never waits."""
        trial = serving.registry.candidate
        if trial is None or random.random() >= trial.rollout:  # noqa: S311  (a sample, not a secret)
            return
        try:
            self._queue.put_nowait(Sample(serving, endpoint, identifier, k, served))
        except queue.Full:
            self._metrics.shadow.labels("dropped").inc()

    def _work(self) -> None:
        while (sample := self._queue.get()) is not None:
            try:
                self._score(sample)
            except Exception:  # noqa: BLE001  (whatever a candidate does, users and this thread go on)
                _log.warning("the shadow candidate failed", exc_info=True)
                self._metrics.shadow.labels("failed").inc()

    def _score(self, sample: Sample) -> None:
        candidate = sample.serving.candidate
        if candidate is None:
            return
        started = time.perf_counter()
        found = golden.answer(candidate.model, sample.endpoint, sample.identifier, sample.k)
        self._metrics.shadow_latency.observe(time.perf_counter() - started)
        if sample.served:
            common = len(set(found) & set(sample.served))
            self._metrics.shadow_overlap.observe(common / len(sample.served))
        self._metrics.shadow.labels("scored").inc()
