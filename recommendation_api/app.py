"""The application of one worker process: FastAPI for what people read, the hot path before it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import Body, Depends, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from model_release import __version__
from model_release.contract import (
    EVENTS_PATH,
    LEASE_PATH,
    MODELS_PATH,
    RELOAD_PATH,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
)
from model_release.exposures import NewOutcome
from recommendation_api import openapi, problems
from recommendation_api.arms import Arms
from recommendation_api.control import ControlServer
from recommendation_api.crew import Crew
from recommendation_api.events import events_router
from recommendation_api.exposition import Exposition
from recommendation_api.exposure_log import ExposureLog
from recommendation_api.metrics import Metrics
from recommendation_api.orders import TrialStates
from recommendation_api.overload import Overload
from recommendation_api.recommend import Recommender
from recommendation_api.reload import ModelServer
from recommendation_api.replica import Replica
from recommendation_api.runtime import Runtime
from recommendation_api.security import Caller, Guard, Right, caller
from recommendation_api.settings import Settings
from recommendation_api.shadow import Shadow
from recommendation_api.shadow_counts import CountsInFiles
from recommendation_api.worker import Worker

_EMPTY = ReloadRequest()


class Application:
    """Everything that one worker process has.

    Args:
        settings: of the replica.
        runtime: the folder that it shares with the other workers; None: it is alone.
        slot: its place among them.
    """

    def __init__(self, settings: Settings, runtime: Runtime | None = None, slot: int = 0) -> None:
        self.settings = settings
        self.runtime = runtime
        shadow_counts = CountsInFiles(runtime.shadow, slot) if runtime is not None else None
        self.metrics = Metrics(settings.outcome_types.split(","), shadow_counts)
        self.arms = Arms(lambda: self.worker.serving)
        self.shadow = Shadow(self.metrics, settings.shadow_queue, lambda: self.worker.serving)
        self.overload = Overload(
            late_seconds=settings.late_seconds,
            threads=settings.scoring_threads,
            waiting=settings.scoring_waiting,
            timeout_seconds=settings.scoring_seconds,
        )
        self.worker = Worker(settings, slot, trials=self.trials, silent_seconds=self.overload.silent_seconds)
        self.crew = Crew(self.worker, runtime)
        self.replica = Replica(settings, self.worker, self.crew)
        self.server = ModelServer(settings, self.metrics, self.replica)
        self.log: ExposureLog | None = None
        if settings.exposures:
            self.log = ExposureLog(
                settings,
                worker=slot,
                on_written=self.metrics.count_exposures,
                on_dropped=self.metrics.count_dropped,
            )
        self.recommender = Recommender(
            self.replica, settings, self.metrics, self.shadow, self.overload, self.arms, self.log
        )
        self.exposition = Exposition(
            self.metrics, self.crew, runtime, readable=lambda: self.replica.registry_problem is None
        )

    def trials(self) -> TrialStates:
        """Return what this process knows of trials; from any thread."""
        return TrialStates(states=tuple(self.shadow.states()), users=self.arms.users())

    def count_outcome(self, outcome: NewOutcome) -> None:
        """Count an outcome that was taken, by the arm that showed it."""
        self.metrics.count_outcome(self.arms.arm_of(outcome.request_id), outcome.type)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Run what goes on beside the requests; among other workers, not before this one can answer like them."""
        async with contextlib.AsyncExitStack() as stack:
            self.shadow.start()
            stack.callback(self.shadow.stop)
            stack.callback(self.overload.close)
            if self.log is not None:
                self.log.start()
                stack.callback(self.log.stop)
            if self.runtime is not None:
                stack.enter_context(self._among_workers(self.runtime))
                await anyio.to_thread.run_sync(self.replica.join)
            for forever in (self._watch(), self.overload.watch(), self.shadow.watch()):
                stack.push_async_callback(_cancel, asyncio.create_task(forever))
            try:
                yield
            finally:
                self.server.close()

    @contextlib.contextmanager
    def _among_workers(self, runtime: Runtime) -> Iterator[None]:
        """Be there for the other workers: first the socket, then the sign of life that makes them use it."""
        control = ControlServer(self.worker, runtime.socket(self.worker.slot))
        control.start()
        try:
            with runtime.occupied_by_me(self.worker.slot):
                yield
        finally:
            control.close()

    async def _watch(self) -> None:
        own = anyio.CapacityLimiter(1)  # not one of the threads that wait for changes
        while True:
            await anyio.to_thread.run_sync(self.replica.watch, limiter=own)
            await asyncio.sleep(self.settings.watch_seconds)


class Api(FastAPI):
    """FastAPI, with the hot path asked first: before its stack of middleware, which costs more than an answer."""

    parts: Application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let FastAPI answer; it takes a HEAD for a GET, and the server leaves out the body."""
        if self.parts.replica.closing.is_set():
            send = _closing(send)
        if not await self.parts.recommender.answers(scope, receive, send):
            asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
            await super().__call__(asked, receive, send)


def _closing(send: Send) -> Send:
    """Return ``send`` with the connection closed after its answer: whoever asks next finds another replica."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    return sending


def create_app(settings: Settings, runtime: Runtime | None = None, slot: int = 0) -> Api:
    """Return the API of one worker process; it loads what the registry desires when it starts."""
    parts = Application(settings, runtime, slot)
    app = Api(
        title="Recommendation API",
        version=__version__,
        lifespan=parts.lifespan,
        redirect_slashes=False,  # the address of the redirect would be whatever the caller named as host
        docs_url="/docs" if settings.docs else None,
        redoc_url="/redoc" if settings.docs else None,
        openapi_url="/openapi.json" if settings.docs else None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.settings = settings
    app.parts = parts
    problems.install(app)
    reload = Right.to_reload(settings)
    events = {EVENTS_PATH: Right.to_send_events(settings)} if settings.events else {}
    app.add_middleware(Guard, rights={RELOAD_PATH: reload, LEASE_PATH: reload, **events})
    _add_reload(app, parts.server)
    _add_reads(app, parts)
    log = parts.log if settings.events else None
    app.include_router(events_router(log, parts.metrics.count_events, parts.count_outcome))
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _add_reload(app: FastAPI, server: ModelServer) -> None:
    @app.post(RELOAD_PATH, tags=["release"], responses=openapi.CHANGE_REFUSED)
    def reload_models(
        by: Caller, request: Annotated[ReloadRequest | None, Body(openapi_examples=openapi.RELOADS)] = None
    ) -> ReloadReceipt:
        """Serve what the registry desires, prepare a run, or, without a generation, change what is desired by hand."""
        return server.reload(request or _EMPTY, by)

    @app.post(LEASE_PATH, tags=["release"], responses=openapi.CHANGE_REFUSED, dependencies=[Depends(caller)])
    def renew_lease(request: Annotated[LeaseRequest, Body(openapi_examples=openapi.LEASES)]) -> LeaseReceipt:
        """Let a candidate stay on trial for a while longer."""
        return server.lease(request)


def _add_reads(app: FastAPI, parts: Application) -> None:
    @app.get(MODELS_PATH, tags=["release"])
    def models() -> ModelsReport:
        """Report desired and observed state, worker by worker."""
        return parts.server.report()

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Answer as long as the process can."""
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"], response_model=dict[str, str], responses=openapi.refusals(503))
    async def ready() -> Response:
        """Answer 200 if this replica has a usable current run to answer with, else 503 with the reason."""
        reason = parts.server.not_ready()
        return JSONResponse({"status": "ready"}) if reason is None else problems.problem(503, "not ready", reason)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse, responses=openapi.refusals(503))
    def scrape() -> Response:
        """Return the metrics of all workers in Prometheus' text format."""
        return Response(parts.exposition.render(), media_type=CONTENT_TYPE_LATEST)
