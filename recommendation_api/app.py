"""The application: FastAPI for what people read, plain routes for the hot path."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Body, Depends, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_release import __version__
from model_release.contract import (
    LEASE_PATH,
    MODELS_PATH,
    RELOAD_PATH,
    Answer,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    Problem,
    ReloadReceipt,
    ReloadRequest,
)
from recommendation_api import problems
from recommendation_api.events import EVENTS_PATH, events_router
from recommendation_api.exposure_log import ExposureLog
from recommendation_api.metrics import Metrics
from recommendation_api.recommend import Recommender
from recommendation_api.reload import ModelServer
from recommendation_api.security import Caller, Guard, Right, caller
from recommendation_api.settings import Settings
from recommendation_api.shadow import Shadow

_EMPTY = ReloadRequest()
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": title}
    for status, title in ((401, "token"), (403, "token"), (404, "unknown run"), (409, "conflict"), (413, "body too large"), (422, "invalid"),
                          (424, "artifact unusable"), (503, "try again"))
}  # fmt: skip


class _AnyText(Convertor[str]):
    """An id as it was sent; Starlette's own ``path`` loses a newline at its end, and so asks for somebody else."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


def create_app(settings: Settings) -> FastAPI:
    """Return the API of one replica; it loads what the registry desires when it starts."""
    metrics = Metrics()
    server = ModelServer(settings, metrics)
    shadow = Shadow(metrics, settings.shadow_queue)
    log = None
    if settings.exposures:
        log = ExposureLog(settings, on_written=metrics.count_exposures, on_dropped=metrics.count_dropped)
    recommender = Recommender(server, settings, metrics, shadow, log)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        shadow.start()
        if log is not None:
            log.start()
        watcher = asyncio.create_task(_watch(server, settings.watch_seconds))
        try:
            yield
        finally:
            server.close()
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            shadow.stop()
            if log is not None:
                log.stop()

    app = FastAPI(title="Recommendation API", version=__version__, lifespan=lifespan)
    app.state.settings = settings
    problems.install(app)
    reload = Right.to_reload(settings)
    events = {EVENTS_PATH: Right.to_send_events(settings)} if settings.events else {}
    app.add_middleware(Guard, rights={RELOAD_PATH: reload, LEASE_PATH: reload, **events})
    app.router.routes.append(Route("/recommend/{user_id:any_text}", recommender.recommend))
    app.router.routes.append(Route("/similar/{item_id:any_text}", recommender.similar))
    _add_reload(app, server)
    _add_reads(app, server, metrics)
    app.include_router(events_router(log if settings.events else None, metrics.count_events))
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


async def _watch(server: ModelServer, seconds: float) -> None:
    while True:
        await anyio.to_thread.run_sync(server.watch)
        await asyncio.sleep(seconds)


def _add_reload(app: FastAPI, server: ModelServer) -> None:
    @app.post(RELOAD_PATH, tags=["release"], responses=_REFUSALS)
    def reload_models(by: Caller, request: Annotated[ReloadRequest | None, Body()] = None) -> ReloadReceipt:
        """Serve what the registry desires, prepare a run, or, without a generation, change what is desired by hand."""
        return server.reload(request or _EMPTY, by)

    @app.post(LEASE_PATH, tags=["release"], responses=_REFUSALS, dependencies=[Depends(caller)])
    def renew_lease(request: LeaseRequest) -> LeaseReceipt:
        """Let a candidate stay on trial for a while longer."""
        return server.lease(request)


def _add_reads(app: FastAPI, server: ModelServer, metrics: Metrics) -> None:
    @app.get(MODELS_PATH, tags=["release"])
    def models() -> ModelsReport:
        """Report desired and observed state, worker by worker."""
        return server.report()

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Answer as long as the process can."""
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"], responses={503: {"model": Problem}})
    async def ready() -> Response:
        """Answer 200 if this replica has a usable current run to answer with, else 503 with the reason."""
        reason = server.not_ready()
        return JSONResponse({"status": "ready"}) if reason is None else problems.problem(503, "not ready", reason)

    @app.get("/metrics", tags=["health"], response_class=Response)
    def scrape() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with the plain routes of the hot path added."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Answer"] = Answer.model_json_schema(ref_template="#/components/schemas/{model}")
        for path, name, text in (
            ("/recommend/{user_id}", "user_id", "The best items for a user, popular ones for an unknown user."),
            ("/similar/{item_id}", "item_id", "Items like an item, none for an unknown item."),
        ):
            document["paths"][path] = {"get": _operation(name, text)}
        app.openapi_schema = document
    return app.openapi_schema


def _operation(name: str, text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    refused = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "tags": ["recommendations"],
        "summary": text,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "k", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1}},
        ],
        "responses": {
            "200": {"description": "The answer names the run that made it", "content": content},
            "422": {"description": "k or the id is not usable", "content": refused},
        },
    }
