"""The hot path: plain Starlette routes that read the served state once and answer from memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from recommendation_api.exposure_log import ExposureLog
from recommendation_api.metrics import Metrics
from recommendation_api.problems import problem
from recommendation_api.reload import ModelServer
from recommendation_api.request_ids import HEADER, RequestIds
from recommendation_api.serving import Serving
from recommendation_api.settings import Settings
from recommendation_api.shadow import Shadow

_log = logging.getLogger("recommendation_api")
_LONGEST_ID = 256
_DIGITS = 4


class Recommender:
    """Answers ``GET /recommend/{user_id}`` and ``GET /similar/{item_id}``."""

    def __init__(
        self,
        server: ModelServer,
        settings: Settings,
        metrics: Metrics,
        shadow: Shadow,
        log: ExposureLog | None,
    ) -> None:
        self._server = server
        self._settings = settings
        self._metrics = metrics
        self._shadow = shadow
        self._log = log
        self._request_ids = RequestIds()

    async def recommend(self, request: Request) -> Response:
        """Answer with the best items for a user; popular ones for a user that the run does not know."""
        return self._answer("recommend", request, request.path_params["user_id"])

    async def similar(self, request: Request) -> Response:
        """Answer with items like an item; none for an item that the run does not know."""
        return self._answer("similar", request, request.path_params["item_id"])

    def _answer(self, endpoint: str, request: Request, identifier: str) -> Response:
        started = time.perf_counter()
        try:
            k = self._length(request.query_params.get("k"))
            _check_length(identifier)
        except ValueError as error:
            self._metrics.count_request(endpoint, "none", "422").inc()
            return problem(422, "invalid request", str(error))
        serving = self._server.serving
        answer = self._make(serving, endpoint, identifier, k)
        body, variant = orjson.dumps(answer), answer["variant"]
        self._metrics.count_request(endpoint, variant, "200").inc()
        seconds = time.perf_counter() - started
        self._metrics.time_request(endpoint, variant).observe(seconds)
        request_id = self._request_ids.of(request)
        if self._log is not None:
            now = time.time()
            trial = serving.registry.candidate if now < serving.lease_until and serving.candidate else None
            self._log.append(
                (now, request_id, endpoint, identifier, k, answer["run_id"], variant,
                 trial.release_id if trial else None, serving.generation, answer["items"], answer["known"],
                 answer["degraded"], seconds)
            )  # fmt: skip
        return Response(body, media_type="application/json", headers={HEADER: request_id})

    def _make(self, serving: Serving, endpoint: str, identifier: str, k: int) -> dict[str, Any]:
        now = time.time()
        run, variant = serving.current, "current"
        if endpoint == "recommend" and serving.in_canary(identifier, now):
            run, variant = serving.candidate, "candidate"
        if run is None:
            return self._degraded(serving, endpoint, k, "no_model")
        try:
            items: Sequence[str] | None
            if endpoint == "recommend":
                items = run.model.recommend(identifier, k)
                known = items is not None
                items = run.model.popular(k) if items is None else items
            else:
                items = run.model.similar(identifier, k)
                known = items is not None
                items = items or ()
        except Exception:  # noqa: BLE001  (whatever a model does, the user gets an answer)
            _log.warning("run %s failed on %s", run.run_id, endpoint, exc_info=True)
            return self._degraded(serving, endpoint, k, "model_error")
        if variant == "current" and serving.in_shadow(now):
            self._shadow.offer(serving, endpoint, identifier, k, items)
        if not items:
            self._metrics.empty.labels(endpoint).inc()
        return {"run_id": run.run_id, "variant": variant, "items": items, "known": known, "degraded": None}

    def _degraded(self, serving: Serving, endpoint: str, k: int, reason: str) -> dict[str, Any]:
        """Answer with popular items of the last usable run; similar items have no such stand-in."""
        items = serving.fallback[:k] if endpoint == "recommend" else ()
        self._metrics.degraded.labels(endpoint, reason).inc()
        if not items:
            self._metrics.empty.labels(endpoint).inc()
        run_id = serving.current.run_id if serving.current else None
        return {"run_id": run_id, "variant": "degraded", "items": items, "known": False, "degraded": reason}

    def _length(self, text: str | None) -> int:
        if text is None:
            return self._settings.default_k
        k = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
        if not 1 <= k <= self._settings.maximum_k:
            raise ValueError(f"k={text[:20]!r} is not a whole number from 1 to {self._settings.maximum_k}")
        return k


def _check_length(identifier: str) -> None:
    if not 0 < len(identifier) <= _LONGEST_ID:
        raise ValueError(f"the id has {len(identifier)} characters, expected 1 to {_LONGEST_ID}")
