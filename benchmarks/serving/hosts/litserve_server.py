"""A LitServe server: ``python -m benchmarks.serving.hosts.litserve_server PORT [tuned]``.

Plain is its quickstart; tuned has the ZeroMQ queue that its guide names for speed, and no access log.
"""
# No `from __future__ import annotations`: LitServe reads the type of a request.

import sys

import litserve
from starlette.requests import Request

from benchmarks.serving.hosts.scoring import Scorer, TopItems


class Recommender(litserve.LitAPI):  # type: ignore[misc]  # LitServe is not installed where types are checked
    """Answers ``{"user_id": ...}``; what ``predict`` returns goes out as JSON."""

    def setup(self, device: str) -> None:  # noqa: ARG002  (LitServe's signature)
        """Load the factors, in the worker."""
        self._scorer = Scorer.from_environment()

    def decode_request(self, request: Request) -> str:
        """Return the user's id."""
        return str(request["user_id"])

    def predict(self, user_id: str) -> TopItems:
        """Return the best items of a user."""
        return self._scorer.top(user_id)


if __name__ == "__main__":
    port, tuned = int(sys.argv[1]), "tuned" in sys.argv[2:]
    server = litserve.LitServer(Recommender(), accelerator="cpu", workers_per_device=1, fast_queue=tuned)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning" if tuned else "info")
