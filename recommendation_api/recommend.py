"""The hot path: two routes answered before the rest of the application is asked, from memory.

It reads the served state once per request.  A model that says it takes long is asked in a thread.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from model_release.artifact import ServedModel
from recommendation_api.arms import Arms
from recommendation_api.exposure_log import ExposureLog
from recommendation_api.metrics import Metrics
from recommendation_api.overload import Overload
from recommendation_api.problems import INTERNAL_ERROR, OVERLOADED, problem, wrong_method
from recommendation_api.replica import Replica
from recommendation_api.request_ids import HEADER, RequestIds, given
from recommendation_api.serving import Serving
from recommendation_api.settings import Settings
from recommendation_api.shadow import Shadow

_log = logging.getLogger("recommendation_api")
ENDPOINTS = {"/recommend/": "recommend", "/similar/": "similar"}
_METHODS = frozenset({"GET", "HEAD"})
_LONGEST_ID = 256
_DIGITS = 4
_ONLY_K = re.compile(rb"k=([0-9]{1,4})")  # as nearly every query is
_JSON = (b"content-type", b"application/json")


class Question(NamedTuple):
    """One request, as the hot path sees it."""

    endpoint: str
    identifier: str
    k: int
    given_id: str | None  # the name that the caller gave it
    started: float  # perf_counter


class Made(NamedTuple):
    """What is answered: to the user, and to the metrics."""

    run_id: str | None
    variant: str
    items: Sequence[str]
    known: bool
    degraded: str | None
    arm: str  # current or candidate: whose turn it was, also where the answer is degraded


class Recommender:
    """Answers ``GET /recommend/{user_id}`` and ``GET /similar/{item_id}``.

    Args:
        replica: has the served state.
        settings: lengths and limits.
        metrics: what is counted.
        shadow: gets a share of the answered requests.
        overload: says when to refuse.
        arms: notes who was answered in which arm of a canary.
        log: every answer is recorded there; None: nowhere.
    """

    def __init__(
        self,
        replica: Replica,
        settings: Settings,
        metrics: Metrics,
        shadow: Shadow,
        overload: Overload,
        arms: Arms,
        log: ExposureLog | None,
    ) -> None:
        self._replica = replica
        self._settings = settings
        self._metrics = metrics
        self._shadow = shadow
        self._overload = overload
        self._arms = arms
        self._log = log
        self._request_ids = RequestIds()

    async def answers(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer one request, or return that it is somebody else's to answer."""
        if scope["type"] != "http":
            return False
        path: str = scope["path"]
        slash = path.find("/", 1) + 1
        endpoint = ENDPOINTS.get(path[:slash])
        if endpoint is None:
            return False
        if scope["method"] in _METHODS:
            await self._answer(scope, receive, send, endpoint, path[slash:])
        else:
            await wrong_method(scope["method"], path, "GET")(scope, receive, send)
        return True

    async def _answer(self, scope: Scope, receive: Receive, send: Send, endpoint: str, identifier: str) -> None:
        started = time.perf_counter()
        refusal = self._overload.refuse()
        if refusal is not None:
            self._metrics.shed.labels(refusal).inc()
            self._metrics.count_request(endpoint, "none", "503").inc()
            await OVERLOADED(scope, receive, send)
            return
        try:
            k = self._length(scope["query_string"])
            _check_length(identifier)
        except ValueError as error:
            self._metrics.count_request(endpoint, "none", "422").inc()
            await problem(422, "invalid request", str(error))(scope, receive, send)
            return
        question = Question(endpoint, identifier, k, given(scope["headers"]), started)
        serving = self._replica.serving
        try:
            made = await self._make(serving, question)
            made, body = self._encoded(serving, question, made)
        except Exception:  # noqa: BLE001  (nobody further out makes a problem document of it)
            _log.error("%s failed", endpoint, exc_info=True)
            self._metrics.count_request(endpoint, "none", "500").inc()
            await INTERNAL_ERROR(scope, receive, send)
            return
        await self._send(send, question, made, serving, body)

    async def _make(self, serving: Serving, question: Question) -> Made:
        now = time.time()
        run, arm = serving.current, "current"
        if question.endpoint == "recommend" and serving.in_canary(question.identifier, now):
            run, arm = serving.candidate, "candidate"
        if run is None:
            return self._degraded(serving, question, arm, "no_model")
        began = time.perf_counter()
        try:
            if run.blocking:
                found = await self._overload.in_thread(lambda: _ask(run.model, question))
            else:
                found = _ask(run.model, question)
        except TimeoutError:
            return self._degraded(serving, question, arm, "timeout")
        except Exception:  # noqa: BLE001  (whatever a model does, the user gets an answer)
            _log.warning("run %s failed on %s", run.run_id, question.endpoint, exc_info=True)
            return self._degraded(serving, question, arm, "model_error")
        known, items = found
        if arm == "current" and serving.in_shadow(now):
            self._shadow.offer(
                serving, question.endpoint, question.identifier, question.k, items, time.perf_counter() - began
            )
        return Made(run.run_id, arm, items, known, None, arm)

    def _degraded(self, serving: Serving, question: Question, arm: str, reason: str) -> Made:
        """Answer with popular items of the last usable run; similar items have no such stand-in."""
        items = serving.fallback[: question.k] if question.endpoint == "recommend" else ()
        self._metrics.degraded.labels(question.endpoint, arm, reason).inc()
        return Made(serving.current.run_id if serving.current else None, "degraded", items, False, reason, arm)

    def _encoded(self, serving: Serving, question: Question, made: Made) -> tuple[Made, bytes]:
        """Return the answer with its body; a run whose items are no JSON has failed like one that raised."""
        try:
            return made, _body(made)
        except TypeError:
            _log.warning("run %s answered %s with what is no JSON", made.run_id, question.endpoint, exc_info=True)
            made = self._degraded(serving, question, made.arm, "model_error")
            return made, _body(made)

    async def _send(self, send: Send, question: Question, made: Made, serving: Serving, body: bytes) -> None:
        metrics, endpoint, now = self._metrics, question.endpoint, time.time()
        mark = self._arms.note(serving, question.identifier, made.arm, now) if endpoint == "recommend" else ""
        request_id = question.given_id or self._request_ids.new(mark)
        if not made.items:
            metrics.count_empty(endpoint, made.arm).inc()
        metrics.count_request(endpoint, made.variant, "200").inc()
        seconds = time.perf_counter() - question.started
        metrics.time_request(endpoint, made.arm).observe(seconds)
        if self._log is not None:
            trial = serving.candidate_at(now)
            self._log.append(
                (now, request_id, endpoint, question.identifier, question.k, made.run_id, made.variant,
                 trial.release_id if trial else None, serving.generation, made.items, made.known, made.degraded, seconds)
            )  # fmt: skip
        headers = [
            _JSON,
            (b"content-length", b"%d" % len(body)),
            (HEADER, request_id.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _length(self, query: bytes) -> int:
        if not query:
            return self._settings.default_k
        found = _ONLY_K.fullmatch(query)
        given = [found[1].decode()] if found else parse_qs(query.decode("latin-1"), keep_blank_values=True).get("k", [])
        if not given:
            return self._settings.default_k
        if len(given) > 1:
            raise ValueError("k is given more than once")
        k = int(given[0]) if given[0].isascii() and given[0].isdigit() and len(given[0]) <= _DIGITS else 0
        if not 1 <= k <= self._settings.maximum_k:
            raise ValueError(f"k={given[0][:20]!r} is not a whole number from 1 to {self._settings.maximum_k}")
        return k


def _body(made: Made) -> bytes:
    return orjson.dumps(
        {
            "run_id": made.run_id,
            "variant": made.variant,
            "items": made.items,
            "known": made.known,
            "degraded": made.degraded,
        }
    )


def _ask(model: ServedModel, question: Question) -> tuple[bool, Sequence[str]]:
    """Return whether the model knows the id, and its answer; popular items for an unknown user."""
    if question.endpoint == "recommend":
        items = model.recommend(question.identifier, question.k)
        return (True, items) if items is not None else (False, model.popular(question.k))
    similar = model.similar(question.identifier, question.k)
    return similar is not None, similar or ()


def _check_length(identifier: str) -> None:
    if not 0 < len(identifier) <= _LONGEST_ID:
        raise ValueError(f"the id has {len(identifier)} characters, expected 1 to {_LONGEST_ID}")
