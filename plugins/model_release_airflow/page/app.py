"""The app of the Releases page: its frame and its files are public and hold no data; its routes need permission."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from model_release.errors import (
    ConfigurationError,
    InvalidInputError,
    ModelReleaseError,
    NotFiringError,
    RunNotFoundError,
)
from model_release_airflow.page.routes import make_router
from model_release_airflow.page.security import PageHeaders

STATIC = Path(__file__).with_name("static")


def create_page() -> FastAPI:
    """Return the app; it has no pages about itself (``/docs``), which would be open to anybody."""
    app = FastAPI(
        title="Releases", openapi_url=None, docs_url=None, redoc_url=None, middleware=[Middleware(PageHeaders)]
    )
    app.include_router(make_router())
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (ModelReleaseError, OSError):  # of a file that can't be read
        app.add_exception_handler(kind, _said)

    @app.get("/", include_in_schema=False)
    async def frame() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    return app


def _said(_: Request, error: Exception) -> JSONResponse:
    """Return an error as its message: 404 for what is not there, 422 for a bad wish, else 503."""
    match error:
        case RunNotFoundError() | NotFiringError():
            status = HTTPStatus.NOT_FOUND
        case ConfigurationError():  # of this installation, not of who asks
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case InvalidInputError():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        case _:
            status = HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"detail": str(error)}, status, headers={"Cache-Control": "no-store"})
