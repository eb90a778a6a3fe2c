"""People who ask without a pause, and notice every request that was not answered well."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.api.crowd import Crowd
from tests.runs import USERS

PAUSE_SECONDS = 0.02


class Traffic(Crowd):
    """Asks several replicas from a few threads until it is stopped.

    Attributes:
        answered: how many requests were answered well, by the run that answered.
        lost: what was wrong with each of the others.
    """

    def __init__(self, urls: Sequence[str], *, people: int = 4) -> None:
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self._urls = urls
        self._lock = threading.Lock()
        super().__init__(people)

    def ask(self, number: int) -> None:
        """Ask one replica after the other; ``number`` says which person this is."""
        users = itertools.cycle((*USERS, f"nobody-{number}"))
        with httpx.Client(timeout=10.0) as client:
            for turn, user in enumerate(users):
                if self.wait(PAUSE_SECONDS):
                    return
                url = self._urls[(number + turn) % len(self._urls)]
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
