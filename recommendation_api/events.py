"""``POST /events``: what people did with what they were shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Request
from pydantic import FailFast, Field, TypeAdapter, ValidationError
from starlette.responses import Response

from model_release.contract import EVENTS_PATH, utc_now
from model_release.explain import explain_all
from model_release.exposures import NewOutcome
from recommendation_api import openapi, problems
from recommendation_api.exposure_log import ExposureLog

NOT_TAKEN = "events not taken"
MOST_EVENTS = 1000

ACCEPTED, INVALID, REFUSED = "accepted", "invalid", "refused"

_BATCH: TypeAdapter[list[NewOutcome]] = TypeAdapter(
    Annotated[list[NewOutcome], Field(min_length=1, max_length=MOST_EVENTS), FailFast()]
)
_EXAMPLE = {
    "at": "2026-01-12T09:30:00Z",
    "user": "u1",
    "item": "i3",
    "type": "purchase",
    "request_id": "5f0c8a1d2b3e4f60-1a",
}
_ONE = NewOutcome.model_json_schema()
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1, "maxItems": MOST_EVENTS}]},
            "examples": {
                "one": {"value": _EXAMPLE},
                "several": {"value": [_EXAMPLE, {**_EXAMPLE, "at": "2026-01-12T09:31:00+08:00", "type": "view"}]},
            },
        }
    },
}
_TAKEN: dict[str, Any] = {
    "description": "All events of the call wait to be written",
    "content": {"application/json": {"example": {"taken": 2}}},
}
_REFUSALS = openapi.refusals(400, 401, 403, 404, 408, 413, 422, 503)


def events_router(
    log: ExposureLog | None,
    count: Callable[[str, int], None] | None = None,
    count_outcome: Callable[[NewOutcome], None] | None = None,
) -> APIRouter:
    """Return the route.

    Args:
        log: where outcomes go; None: events are switched off.
        count: told how many events were ``accepted``, ``invalid`` (with all others of their call) or ``refused``.
        count_outcome: told of each one that was accepted.
    """
    router = APIRouter()

    @router.post(
        EVENTS_PATH,
        tags=["recommendations"],
        status_code=202,
        response_class=Response,
        responses={202: _TAKEN, **_REFUSALS},
        include_in_schema=log is not None,
        openapi_extra={"requestBody": _BODY},
    )
    async def events(request: Request) -> Response:
        """Take one outcome, or a list of at most 1000: all of them or none."""
        if log is None:
            raise HTTPException(404, "events are switched off: RECOMMENDATION_API_EVENTS=true takes them")
        try:
            outcomes = read(await request.body())
        except ValueError as error:
            _count(INVALID, 1)
            return problems.problem(422, "invalid request", str(error))
        if not log.take(outcomes, time.time()):
            _count(REFUSED, len(outcomes))
            return problems.problem(503, NOT_TAKEN, "the log is full, or its disk takes nothing: send them again later")
        _count(ACCEPTED, len(outcomes))
        if count_outcome is not None:
            for outcome in outcomes:
                count_outcome(outcome)
        return Response(orjson.dumps({"taken": len(outcomes)}), 202, media_type="application/json")

    def _count(outcome: str, number: int) -> None:
        if count is not None:
            count(outcome, number)

    return router


def read(body: bytes) -> list[NewOutcome]:
    """Return the outcomes in the body of a call.

    Raises:
        ValueError: it can't be used; the message names the place of the first event that is wrong, from 0.
    """
    stripped = body.strip()
    one = not stripped.startswith(b"[")
    try:
        outcomes = _BATCH.validate_json(
            b"[" + stripped + b"]" if one else stripped, strict=True, context={"now": utc_now()}
        )
    except ValidationError as error:
        raise ValueError(_problem(error)) from None
    if one and len(outcomes) != 1:
        raise ValueError("several events are one list")
    return outcomes


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    what = explain_all([{**first, "loc": first["loc"][1:]}], NewOutcome)
    if not first["loc"]:
        return f"the body is not one event or a list of 1 to {MOST_EVENTS}: {what}"
    return f"event {first['loc'][0]}, {what}; none was taken"
