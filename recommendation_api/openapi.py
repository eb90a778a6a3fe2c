"""The OpenAPI document: FastAPI's, with the hot path, which FastAPI does not know, and examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import Example

from model_release.contract import Answer

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


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of ``app`` with the routes of the hot path added."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["Answer"] = Answer.model_json_schema(ref_template="#/components/schemas/{model}")
        for path, name, text in (
            ("/recommend/{user_id}", "user_id", "The best items for a user, popular ones for an unknown user."),
            ("/similar/{item_id}", "item_id", "Items like an item, none for an unknown item."),
        ):
            made["paths"][path] = {"get": _operation(name, text, app.state.settings.maximum_k)}
        app.openapi_schema = made
    return app.openapi_schema


def _operation(name: str, text: str, maximum_k: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}, "example": _ANSWER}}
    refused = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    identifier = {"type": "string", "minLength": 1, "maxLength": 256}
    return {
        "tags": ["recommendations"],
        "summary": text,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": identifier},
            {
                "name": "k",
                "in": "query",
                "required": False,
                "schema": {"type": "integer", "minimum": 1, "maximum": maximum_k},
            },
        ],
        "responses": {
            "200": {"description": "The answer names the run that made it", "content": content},
            "422": {"description": "k or the id is not usable", "content": refused},
            "503": {"description": "This replica has more requests than it can answer", "content": refused},
        },
    }
