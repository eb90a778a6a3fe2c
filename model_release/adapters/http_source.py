"""Ask a service over HTTP for evidence; whatever goes wrong becomes one sentence that says what.

Answers are read in pieces and never beyond a limit, uncompressed, without following a redirect: the token would travel
along, and the page behind it is no evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from model_release.adapters.addresses import bearer, check_url
from model_release.adapters.sources import ALERTMANAGER_URL, PROMETHEUS_URL, Sources
from model_release.errors import ConfigurationError, EvidenceError
from model_release.explain import explain_all

ANSWER_BYTES = 16 << 20
CONNECTIONS = 4  # questions that are asked at the same time
_LONGEST_TEXT = 300  # of what a service said, in a reason
_OK = 200
_REDIRECTS = range(300, 400)

_Body = TypeVar("_Body", bound=BaseModel)


class HttpSource:
    """One service, for as long as one collection of evidence takes."""

    def __init__(self, name: str, url: str, token: str | None, *, deadline: float, limit_seconds: float) -> None:
        """Make a client; use it in ``async with``.

        Args:
            name: of the service, for reasons.
            url: base address, without credentials.
            token: bearer token; never in an address, a log or a reason.
            deadline: time of the event loop after which nothing is waited for.
            limit_seconds: how long that was, for the reason.

        Raises:
            ConfigurationError: the address or the token is not usable.
        """
        self._name = name
        self._url = check_url(url, of=name)
        self._token = token
        self._deadline = deadline
        self._limit_seconds = limit_seconds
        self._http = httpx.AsyncClient(
            base_url=self._url,
            headers={**bearer(token), "Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(limit_seconds),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment is not between us and the service
        )

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ask(self, method: str, path: str, body: type[_Body], **sent: Mapping[str, Any]) -> _Body:
        """Return the answer to one question as a ``body``; ``sent`` is ``params``, ``data`` or ``json``.

        Raises:
            EvidenceError: there is no such answer; the message says why, and names no token.
        """
        return self._parsed(await self.tell(method, path, **sent), body)

    async def tell(self, method: str, path: str, **sent: Mapping[str, Any]) -> bytes:
        """Return what was answered with status 200, whatever it is; see :meth:`ask`.

        Raises:
            EvidenceError: nothing was answered in time, or another status.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                status, content = await self._read(self._http.build_request(method, path, **sent))  # type: ignore[arg-type]
        except TimeoutError:
            raise self._error(f"did not answer within {self._limit_seconds:g} seconds") from None
        except httpx.HTTPError as error:
            raise self._error(f"can't be asked: {type(error).__name__}: {error}") from error
        if status in _REDIRECTS:
            raise self._error(f"answered {status}: redirects are not followed; give the final address")
        if status != _OK:
            raise self._error(f"answered {status}: {self._said(content)}")
        return content

    async def _read(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._http.send(request, stream=True)
        try:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise self._error(f"answered in encoding {encoding!r}, which was not asked for")
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > ANSWER_BYTES:
                    raise self._error(f"answered more than {ANSWER_BYTES} bytes")
        finally:
            await response.aclose()
        return response.status_code, bytes(content)

    def _parsed(self, content: bytes, body: type[_Body]) -> _Body:
        try:
            return body.model_validate_json(content, strict=True)
        except ValidationError as error:
            found = error.errors(include_url=False)
            first = explain_all(found[:1], body)
        kind = self._kind(content)
        raise self._error(f"answered {kind}: {first}" if kind else f"answered something unexpected: {first}")

    @staticmethod
    def _kind(content: bytes) -> str:
        """Say what a content is that is no JSON at all; empty: it may be JSON."""
        if not content:
            return "nothing"
        if content.lstrip()[:1] == b"<":
            return "a page of HTML or XML"
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes that are not UTF-8"
        return ""

    def _said(self, content: bytes) -> str:
        """Return what a service said of a failure: its own error document, else the kind or beginning of its text."""
        try:
            told = _Failure.model_validate_json(content)
        except ValidationError:
            return self._kind(content) or content.decode("utf-8")
        return f"{told.errorType}: {told.error}"

    def _error(self, what: str) -> EvidenceError:
        return EvidenceError(self.plain(f"{self._name} at {self._url} {what}"))

    def plain(self, text: str) -> str:
        """Return a text as one short line that can't hold the token."""
        if self._token:
            text = text.replace(self._token, "[token]")
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
        return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


class _Failure(BaseModel):
    errorType: str  # noqa: N815  (the service's own name)
    error: str


def opened(
    name: Literal["Prometheus", "Alertmanager"], sources: Sources, *, deadline: float | None = None
) -> HttpSource:
    """Return a service of ``sources`` for ``async with``, from inside of an event loop.

    ``deadline`` is a time of the loop; None: as long as ``sources`` allows, from now.

    Raises:
        ConfigurationError: it is not named there.
    """
    url, token, variable = {
        "Prometheus": (sources.prometheus_url, sources.prometheus_token, PROMETHEUS_URL),
        "Alertmanager": (sources.alertmanager_url, sources.alertmanager_token, ALERTMANAGER_URL),
    }[name]
    if url is None:
        raise ConfigurationError(f"{variable} is not set: {name} can't be asked")
    seconds = sources.timeout_seconds
    until = asyncio.get_running_loop().time() + seconds if deadline is None else deadline
    return HttpSource(name, url, token, deadline=until, limit_seconds=seconds)
