"""The bridge's HTTP: webhooks in, health and metrics out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from alert_bridge.database import NotStoredError
from alert_bridge.intake import FullError, Intake
from alert_bridge.metrics import Metrics, Reception
from alert_bridge.webhook import NotJsonError, Webhook, parse
from model_release.adapters.tokens import Tokens, is_bearer, is_from_here
from model_release.errors import InvalidInputError

ALERTMANAGER_PATH = "/alertmanager"
_BODY_SECONDS = 10.0
_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """A webhook is not taken; Alertmanager tries again what was answered with 5xx, and drops the rest."""

    def __init__(self, status: int, outcome: Reception, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.outcome, self.detail, self.headers = status, outcome, detail, headers


class Door:
    """Lets webhooks in that may come in, as far as they can be read.

    Args:
        tokens: that give the right; None: only loopback may.
        targets: who can be told.
        largest: bytes of a body.
    """

    def __init__(self, tokens: Tokens | None, targets: Sequence[str], largest: int) -> None:
        self._tokens = tokens
        self._targets = tuple(targets)
        self._largest = largest

    def check(self, request: Request, target: str | None) -> tuple[str, ...]:
        """Return who is to be told.

        Raises:
            _RefusedError: the caller has no right, or nobody is called so.
        """
        if self._tokens is None:
            host = request.client.host if request.client else ""
            if not is_from_here(request.headers, host):
                raise _RefusedError(403, "unauthorized", "without a token, only loopback may post")
        elif not is_bearer(self._tokens, request.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise _RefusedError(401, "unauthorized", "needs the header Authorization: Bearer TOKEN", challenge)
        if target is None:
            return self._targets
        if target not in self._targets:
            raise _RefusedError(404, "unknown_target", f"there is no such target; there are {', '.join(self._targets)}")
        return (target,)

    async def body(self, request: Request) -> bytes:
        """Return the body.

        Raises:
            _RefusedError: it is too long, or takes too long to arrive.
        """
        too_large = _RefusedError(413, "too_large", f"a webhook has at most {self._largest} bytes: set max_alerts")
        claimed = request.headers.get("content-length", "")
        if claimed.isdigit() and int(claimed) > self._largest:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._largest:
                        raise too_large
        except ClientDisconnect:
            raise _RefusedError(400, "malformed", "the caller hung up before the body was there") from None
        except TimeoutError:
            raise _RefusedError(408, "malformed", "the body did not arrive in time") from None
        return bytes(body)


def create_app(
    door: Door,
    intake: Intake,
    metrics: Metrics,
    shown: CollectorRegistry,
    *,
    wake: Callable[[], None],
    alive: Callable[[], bool],
) -> FastAPI:
    """Return the application.

    Args:
        door: who and what comes in.
        intake: where it goes.
        metrics: what is counted of it.
        shown: everything that ``GET /metrics`` shows.
        wake: called when there may be something to send.
        alive: whether everything that sends is there.
    """
    app = FastAPI(title="Alert bridge", docs_url=None, redoc_url=None, openapi_url=None)

    async def take(request: Request, target: str | None = None) -> Response:
        try:
            targets = door.check(request, target)
            webhook = _parsed(await door.body(request))
            made = await run_in_threadpool(_stored, intake, webhook, targets)
        except _RefusedError as refused:
            metrics.webhook(refused.outcome)
            _log.warning("a webhook was answered %d: %s", refused.status, refused.detail)
            return _problem(refused)
        metrics.webhook("accepted")
        if made:
            wake()
        return JSONResponse({"messages": made})

    app.add_api_route(ALERTMANAGER_PATH, take, methods=["POST"])
    app.add_api_route(ALERTMANAGER_PATH + "/{target}", take, methods=["POST"])

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"}) if alive() else JSONResponse({"status": "a courier died"}, 503)

    @app.get("/metrics")
    def show() -> Response:
        return Response(generate_latest(shown), media_type=CONTENT_TYPE_LATEST)

    return app


def _parsed(body: bytes) -> Webhook:
    try:
        return parse(body)
    except NotJsonError as error:
        raise _RefusedError(400, "malformed", str(error)) from None
    except InvalidInputError as error:
        raise _RefusedError(422, "invalid", str(error)) from None


def _stored(intake: Intake, webhook: Webhook, targets: Sequence[str]) -> int:
    try:
        return intake.take(webhook, targets)
    except FullError as error:
        raise _RefusedError(503, "full", str(error), {"Retry-After": "30"}) from None
    except NotStoredError as error:
        raise _RefusedError(503, "not_stored", str(error), {"Retry-After": "5"}) from None


def _problem(refused: _RefusedError) -> Response:
    body = {"type": "about:blank", "title": refused.outcome.replace("_", " "), "status": refused.status}
    content = json.dumps({**body, "detail": refused.detail})
    return Response(content, refused.status, dict(refused.headers or {}), media_type="application/problem+json")
