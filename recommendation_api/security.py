"""Who may change what is served."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recommendation_api.problems import http_problem
from recommendation_api.settings import Settings

LARGEST_BODY = 16_384

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def caller(request: Request) -> str:
    """Return who calls, for the ledger, if they may change what is served.

    Raises:
        HTTPException: 401 without the right token; 403 where no token is configured.
    """
    settings: Settings = request.app.state.settings
    host = request.client.host if request.client else "unknown"
    if settings.reload_token is None:
        # behind a proxy everybody comes from loopback
        direct = not any(name in request.headers for name in ("forwarded", "x-forwarded-for"))
        if settings.development and direct and _is_loopback(host):
            return f"api:{host}"
        raise HTTPException(
            403,
            "no MODEL_RELOAD_TOKEN is configured: reload and lease are refused, except from loopback in development",
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = settings.reload_token.get_secret_value().encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected):
        raise HTTPException(401, "needs the header Authorization: Bearer <MODEL_RELOAD_TOKEN>", headers=_CHALLENGE)
    return f"api:{host}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Ask for the token, and for a small body, before a byte of the body is read.

    Args:
        app: what is guarded.
        paths: the paths whose POST changes something.
    """

    def __init__(self, app: ASGIApp, paths: frozenset[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403 or 413 here, and pass on everything else."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller(request)
            claimed = request.headers.get("content-length", "")
            _check_length(int(claimed) if claimed.isdigit() else 0)
        except HTTPException as error:
            await http_problem(error)(scope, receive, send)
            return
        await self._app(scope, _counted(receive), send)


def _counted(receive: Receive) -> Receive:
    """Return ``receive`` with an end for bodies that don't say how long they are."""
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        _check_length(seen)
        return message

    return counting


def _check_length(length: int) -> None:
    if length > LARGEST_BODY:
        raise HTTPException(413, f"a reload or a lease has at most {LARGEST_BODY} bytes")


Caller = Annotated[str, Depends(caller)]
