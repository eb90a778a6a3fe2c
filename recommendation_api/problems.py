"""Every error as an RFC 9457 problem document."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from model_release import errors
from model_release.contract import LEASE_PATH, RELOAD_PATH, LeaseRequest, ReloadRequest
from model_release.explain import explain_all

_log = logging.getLogger("recommendation_api")


class ShuttingDownError(errors.ModelReleaseError):
    """This replica is going away."""


class WorkerLostError(errors.ModelReleaseError):
    """A worker of this replica died or does not answer; it is replaced, a retry finds its successor."""


class RegistryBehindError(errors.StateError):
    """This replica does not see the generation yet that the caller has committed."""


# One table: what went wrong, and the status that says so.  The first class that fits counts.
STATUSES: tuple[tuple[type[errors.ModelReleaseError], int, str], ...] = (
    (errors.InvalidRunIdError, 422, "invalid run id"),
    (errors.ConfigurationError, 500, "configuration"),
    (errors.InvalidInputError, 422, "invalid request"),
    (errors.RunNotFoundError, 404, "unknown run"),
    (errors.RunExistsError, 409, "run exists"),
    (errors.ArtifactError, 424, "artifact unusable"),
    (errors.GenerationConflictError, 409, "generation conflict"),
    (errors.LatchedError, 409, "latched"),
    (errors.IllegalMoveError, 409, "not possible from here"),
    (errors.GateMissingError, 409, "gate missing"),
    (errors.StateBusyError, 503, "state busy"),
    (errors.StateCorruptError, 503, "registry unusable"),
    (RegistryBehindError, 503, "registry behind"),
    (ShuttingDownError, 503, "shutting down"),
    (WorkerLostError, 503, "worker lost"),
)
STORAGE_TITLE = "storage unusable"
_SOURCES = {"body", "query", "path"}  # where in a request a value stood; its name says enough
_BODIES: Mapping[str, type[BaseModel]] = {RELOAD_PATH: ReloadRequest, LEASE_PATH: LeaseRequest}
_TITLES = {413: "body too large"}  # whose phrase differs between versions of Python
_RETRY_AFTER_SECONDS = "1"
_UNAVAILABLE = 503
_LONGEST_PATH = 200  # of an address, in a message


def problem(status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Return one problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    extra = {"Retry-After": _RETRY_AFTER_SECONDS} if status == _UNAVAILABLE else {}
    return Response(orjson.dumps(body), status, {**extra, **(headers or {})}, media_type="application/problem+json")


OVERLOADED = problem(503, "overloaded", "this replica has more requests than it can answer; retry")
INTERNAL_ERROR = problem(500, "internal error", "this replica could not answer; its log says why")


def status_of(error: errors.ModelReleaseError) -> tuple[int, str]:
    """Return the status and title for an error."""
    for kind, status, title in STATUSES:
        if isinstance(error, kind):
            return status, title
    return 500, "internal error"


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem document."""
    app.add_exception_handler(errors.ModelReleaseError, _release_error)
    app.add_exception_handler(OSError, _storage_error)
    app.add_exception_handler(RequestValidationError, _invalid_body)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


async def _release_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ModelReleaseError)  # noqa: S101  (what it is registered for)
    status, title = status_of(error)
    return problem(status, title, str(error))


async def _storage_error(request: Request, error: Exception) -> Response:
    """Answer for a disk that is full, a share that is gone, a file that may not be read: worth a retry."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        _UNAVAILABLE, STORAGE_TITLE, f"{getattr(error, 'strerror', None) or type(error).__name__}; see the log"
    )


async def _invalid_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (what it is registered for)
    problems = [{**item, "loc": tuple(part for part in item["loc"] if part not in _SOURCES)} for item in error.errors()]
    return problem(422, "invalid request", explain_all(problems, _BODIES.get(request.url.path)))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (what it is registered for)
    if error.detail == http.HTTPStatus(error.status_code).phrase:  # the framework's own, which says nothing more
        path = request.url.path[:_LONGEST_PATH]
        match error.status_code:
            case 404:
                error.detail = f"there is no route {path!r}; GET /docs lists all there are"
            case 405:
                return wrong_method(request.method, path, (error.headers or {}).get("Allow", "another method"))
    return http_problem(error)


def wrong_method(method: str, path: str, allowed: str) -> Response:
    """Return the problem document for a method that a route does not have; what can be read can be asked for by HEAD."""
    methods = set(allowed.split(", "))
    allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
    detail = f"{method} is not possible at {path[:_LONGEST_PATH]!r}, only {allowed}"
    return problem(405, "method not allowed", detail, {"Allow": allowed})


def http_problem(error: HTTPException) -> Response:
    """Return the problem document for an error of HTTP's own."""
    phrase = http.HTTPStatus(error.status_code).phrase
    title = _TITLES.get(error.status_code, phrase.lower())
    detail = "" if error.detail == phrase else str(error.detail)
    return problem(error.status_code, title, detail, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return INTERNAL_ERROR
