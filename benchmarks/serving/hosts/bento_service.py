"""Two services for ``bentoml serve``: as its quickstart writes them, and with what its guides say makes them quicker."""
# No `from __future__ import annotations`: BentoML reads the types of an API.

from typing import Any

import bentoml

from benchmarks.serving.hosts.scoring import Scorer


@bentoml.service(workers=1)
class Plain:
    """A synchronous API: BentoML runs it in a thread."""

    def __init__(self) -> None:
        self._scorer = Scorer.from_environment()

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML is not installed where types are checked
    def recommend(self, user_id: str) -> dict[str, Any]:
        """Return the best items of a user."""
        return dict(self._scorer.top(user_id))


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Tuned:
    """An asynchronous API without an access log: no thread, no line per request."""

    def __init__(self) -> None:
        self._scorer = Scorer.from_environment()

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML is not installed where types are checked
    async def recommend(self, user_id: str) -> dict[str, Any]:
        """Return the best items of a user."""
        return dict(self._scorer.top(user_id))
