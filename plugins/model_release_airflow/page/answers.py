"""How the page's routes answer: JSON that says when it is the same as before, and errors as text."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from fastapi import Request, Response
from pydantic import BaseModel

_PRIVATE = "private, no-cache"  # of this user alone, and asked again each time; the ETag makes that cheap


def answer(request: Request, body: BaseModel) -> Response:
    """Return ``body`` as JSON with an ETag; 304 without a body if the browser has exactly that."""
    content = body.model_dump_json(exclude_none=True).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": _PRIVATE, "Vary": "Cookie, Authorization"}
    if tag in _asked(request):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _asked(request: Request) -> set[str]:
    """Return the tags that the browser has; one that a proxy made weak when it compressed means the same."""
    given = request.headers.get("if-none-match", "")
    return {tag.strip().removeprefix("W/") for tag in given.split(",") if tag.strip()}
