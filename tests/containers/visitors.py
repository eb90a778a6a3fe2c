"""People who ask for recommendations through the proxy all the time, and what they get."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

from tests.containers.stack import PROXY

RATE = 10.0  # requests per second


class Visitors:
    """Asks in a thread of its own; each answer that is not a whole one of a known run is lost.

    Attributes:
        answers: by the run that made them.
        lost: what was wrong, and how often.
    """

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._over.set()
        self._thread.join(20)

    def _ask_on(self) -> None:
        with httpx.Client(base_url=PROXY, timeout=10) as client:
            for user in itertools.count(1):
                if self._over.is_set():
                    return
                begun = time.monotonic()
                self._ask(client, user % 2000)
                self._over.wait(max(0.0, begun + 1 / RATE - time.monotonic()))

    def _ask(self, client: httpx.Client, user: int) -> None:
        try:
            answer = client.get(f"/recommend/{user}")
        except httpx.HTTPError as error:
            self.lost[type(error).__name__] += 1
            return
        if answer.status_code != httpx.codes.OK:
            self.lost[f"status {answer.status_code}"] += 1
        elif not (answer.json()["items"] and answer.json()["run_id"]):
            self.lost["without items"] += 1
        else:
            self.answers[answer.json()["run_id"]] += 1
