"""How long it took until everybody agreed again: the replicas are looked at all the time, the times are read off later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

INTERVAL_SECONDS = 0.2
Sample = tuple[float, Sequence[str]]  # when, by the monotonic clock; what disagreed then


class Watch:
    """Looks at the fleet every :data:`INTERVAL_SECONDS` until it is closed.

    Attributes:
        samples: what was seen, oldest first.
    """

    def __init__(self, look: Callable[[], Sequence[str]]) -> None:
        self.samples: list[Sample] = []
        self._look = look
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def agreed(self, since: float, over: float) -> float | None:
        """Return :func:`seconds_to_agree` of what was seen so far."""
        return seconds_to_agree(self.samples, since, over)

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_SECONDS):
            at = time.monotonic()  # what is seen is not older than that
            self.samples.append((at, tuple(self._look())))


def seconds_to_agree(samples: Sequence[Sample], since: float, over: float) -> float | None:
    """Return the seconds from a fault until all agreed, and still did so when it was over and at the next look.

    Args:
        samples: what was seen, oldest first.
        since: when the fault began.
        over: when it had ended, and had been felt if it was to be.

    Returns:
        0 if nothing ever disagreed; None: they do not agree yet.
    """
    good: float | None = None
    disagreed = False
    seen = [sample for sample in samples if sample[0] >= since]
    for at, problems in seen:
        if problems:
            good, disagreed = None, True
            continue
        if good is not None and at > over:
            return good - since if disagreed else 0.0
        good = at if good is None else good
    return None
