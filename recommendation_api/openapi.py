"""The OpenAPI document: FastAPI's, with what FastAPI does not know: the hot path, who may call, what errors look like."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import Example

from model_release.contract import EVENTS_PATH, LEASE_PATH, RELOAD_PATH, Answer, Problem
from model_release.exposures import REQUEST_ID_PATTERN

RELOADS: dict[str, Example] = {
    "follow": {"summary": "Serve what the registry desires", "value": {}},
    "by hand": {
        "summary": "Make a run current, on the whole fleet",
        "value": {"run_id": "20260112-next-basket-2222bbbb", "release_id": "by-hand-1"},
    },
    "shadow": {
        "summary": "Try a run beside the current one on 10 % of requests, for an hour",
        "value": {"run_id": "20260119-als-3333cccc", "mode": "shadow", "rollout": 0.1, "lease_seconds": 3600},
    },
    "prepare": {
        "summary": "Load and check a run, and serve what is served now",
        "value": {"run_id": "20260119-als-3333cccc", "prepare": True},
    },
}
LEASES: dict[str, Example] = {
    "two hours": {
        "summary": "Go on for two hours from now",
        "value": {"release_id": "try-3", "generation": 3, "lease_seconds": 7200},
    },
}
_ANSWER = {
    "run_id": "20260112-next-basket-2222bbbb",
    "variant": "current",
    "items": ["1082185", "6534178", "1029743"],
    "known": True,
    "degraded": None,
}

_REFS = "#/components/schemas/{model}"
_REFUSED = {
    400: "The body is no JSON",
    401: "The token is missing or wrong",
    403: "No token is configured",
    404: "No such run; events are switched off",
    408: "The body did not arrive in time",
    409: "The registry, the replica or the release is at another point than the call says",
    413: "The body is too large",
    422: "A value is not usable",
    424: "The files of the run are not usable",
    503: "This replica can't answer now, another one may",
}
_CHANGES = (400, 401, 403, 404, 408, 409, 413, 422, 424, 503)  # what a call that may change something can end with
_RETRY_AFTER = {"Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "integer"}}}
_CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
_REQUEST_ID = {"type": "string", "pattern": REQUEST_ID_PATTERN}
_TOKENS = {RELOAD_PATH: "reload token", LEASE_PATH: "reload token", EVENTS_PATH: "events token"}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of answers that are problem documents."""
    headers = {503: _RETRY_AFTER, 401: _CHALLENGE}
    content = {"application/problem+json": {"schema": {"$ref": _REFS.format(model="Problem")}}}
    return {
        status: {"description": _REFUSED[status], "headers": headers.get(status, {}), "content": content}
        for status in statuses
    }


CHANGE_REFUSED = refusals(*_CHANGES)


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of ``app`` with the routes of the hot path, and the token that changes need."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        components = made.setdefault("components", {})
        for model in (Answer, Problem):
            components.setdefault("schemas", {})[model.__name__] = model.model_json_schema(ref_template=_REFS)
        needed = {path: token for path, token in _TOKENS.items() if path in made["paths"]}
        components["securitySchemes"] = {token: {"type": "http", "scheme": "bearer"} for token in needed.values()}
        for path, token in needed.items():
            made["paths"][path]["post"]["security"] = [{token: []}]
        settings = app.state.settings
        for path, name, text in (
            ("/recommend/{user_id}", "user_id", "The best items for a user, popular ones for an unknown user."),
            ("/similar/{item_id}", "item_id", "Items like an item, none for an unknown item."),
        ):
            made["paths"][path] = {"get": _operation(name, text, settings.default_k, settings.maximum_k)}
        app.openapi_schema = made
    return app.openapi_schema


def _operation(name: str, text: str, default_k: int, maximum_k: int) -> dict[str, Any]:
    answer = {
        "description": "The answer names the run that made it",
        "headers": {"X-Request-Id": {"required": True, "schema": _REQUEST_ID}},
        "content": {"application/json": {"schema": {"$ref": _REFS.format(model="Answer")}, "example": _ANSWER}},
    }
    return {
        "tags": ["recommendations"],
        "summary": text,
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": "Percent-encoded; a slash in it may be written as it is or as %2F.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            },
            {
                "name": "k",
                "in": "query",
                "required": False,
                "description": "How many items at most.",
                "schema": {"type": "integer", "minimum": 1, "maximum": maximum_k, "default": default_k},
            },
            {
                "name": "X-Request-Id",
                "in": "header",
                "required": False,
                "description": "Comes back in the answer; anything else than the pattern is replaced.",
                "schema": {"type": "string"},
            },
        ],
        "responses": {"200": answer, **{str(status): what for status, what in refusals(422, 503).items()}},
    }
