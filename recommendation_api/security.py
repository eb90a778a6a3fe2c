"""Who may change what is served, and who may send events: two rights, each with tokens of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_release.adapters.tokens import Tokens, is_bearer, is_from_here, tokens_of
from recommendation_api.problems import http_problem
from recommendation_api.settings import EVENTS_TOKEN, RELOAD_TOKEN, Settings

LARGEST_BODY = 16_384
LARGEST_BATCH = 1 << 20

_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_CALLER = "caller"


@dataclass(frozen=True)
class Right:
    """Leave to do something.

    Attributes:
        variable: which names the token.
        what: what is refused without it, in the plural.
        body: what a body is called.
        largest_body: in bytes.
        tokens: that give the right; None: none are configured.
        development: without tokens, a direct call from loopback has the right too.
    """

    variable: str
    what: str
    body: str
    largest_body: int
    tokens: Tokens | None
    development: bool

    @classmethod
    def to_reload(cls, settings: Settings) -> Self:
        """Return the right to change what is served."""
        return cls(
            variable=RELOAD_TOKEN,
            what="reload and lease",
            body="a reload or a lease",
            largest_body=LARGEST_BODY,
            tokens=tokens_of(settings.reload_token, settings.reload_token_file, RELOAD_TOKEN),
            development=settings.development,
        )

    @classmethod
    def to_send_events(cls, settings: Settings) -> Self:
        """Return the right to tell what people did."""
        return cls(
            variable=EVENTS_TOKEN,
            what="events",
            body="a batch of events",
            largest_body=LARGEST_BATCH,
            tokens=tokens_of(settings.events_token, settings.events_token_file, EVENTS_TOKEN),
            development=settings.development,
        )

    def check(self, request: Request) -> str:
        """Return who calls, for the ledger, if they have this right.

        Raises:
            HTTPException: 401 without a valid token; 403 where no token is configured.
        """
        host = request.client.host if request.client else "unknown"
        if self.tokens is None:
            if self.development and is_from_here(request.headers, host):
                return f"api:{host}"
            raise HTTPException(
                403,
                f"no {self.variable} is configured: {self.what} are refused, except from loopback in development",
            )
        if not is_bearer(self.tokens, request.headers.get("authorization", "")):
            raise HTTPException(401, f"needs the header Authorization: Bearer <{self.variable}>", headers=_CHALLENGE)
        return f"api:{host}"

    def check_length(self, length: int) -> None:
        """Raise ``HTTPException`` 413 for a body that is too long."""
        if length > self.largest_body:
            raise HTTPException(413, f"{self.body} has at most {self.largest_body} bytes")


class Guard:
    """Ask for the token, and for a small body, before a byte of the body is read.

    Args:
        app: what is guarded.
        rights: the right that a POST to each path needs.
    """

    def __init__(self, app: ASGIApp, rights: Mapping[str, Right]) -> None:
        self._app = app
        self._rights = rights

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403 or 413 here, and pass on everything else."""
        right = self._rights.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if right is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            setattr(request.state, _CALLER, right.check(request))
            claimed = request.headers.get("content-length", "")
            right.check_length(int(claimed) if claimed.isdigit() else 0)
        except HTTPException as error:
            await http_problem(error)(scope, receive, send)
            return
        await self._app(scope, _counted(receive, right), send)


def _counted(receive: Receive, right: Right) -> Receive:
    """Return ``receive`` with an end for bodies that don't say how long they are."""
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        right.check_length(seen)
        return message

    return counting


def caller(request: Request) -> str:
    """Return who calls, for the ledger.

    Raises:
        HTTPException: 403 if no :class:`Guard` has let this request in.
    """
    by = getattr(request.state, _CALLER, None)
    if not isinstance(by, str):
        raise HTTPException(403, "nobody may call a route that is not guarded")
    return by


Caller = Annotated[str, Depends(caller)]
