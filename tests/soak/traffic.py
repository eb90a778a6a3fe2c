"""People who ask without a pause, and notice every request that was not answered well."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

import httpx

from tests.runs import USERS

PAUSE_SECONDS = 0.02


class Traffic:
    """Asks several replicas from a few threads until it is stopped.

    Attributes:
        answered: how many requests were answered well, by the run that answered.
        lost: what was wrong with each of the others.
    """

    def __init__(self, urls: Sequence[str], *, people: int = 4) -> None:
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self._urls = urls
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(person,)) for person in range(people)]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, when the requests under way are answered."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, person: int) -> None:
        users = itertools.cycle((*USERS, f"nobody-{person}"))
        with httpx.Client(timeout=10.0) as client:
            for number, user in enumerate(users):
                if self._closing.wait(PAUSE_SECONDS):
                    return
                url = self._urls[(person + number) % len(self._urls)]
                run_id, problem = _one(client, f"{url}/recommend/{user}?k=3")
                with self._lock:
                    if problem:
                        self.lost.append(problem)
                    else:
                        self.answered[run_id] += 1


def _one(client: httpx.Client, url: str) -> tuple[str, str]:
    """Return the run that answered, and what was wrong."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        return "", f"{url}: {type(error).__name__}: {error}"
    body = answer.json() if answer.status_code == httpx.codes.OK else {}
    well = bool(body.get("items")) and body.get("degraded") is None and body.get("variant") != "degraded"
    return (str(body["run_id"]), "") if well else ("", f"{url}: {answer.status_code} {answer.text[:200]}")
