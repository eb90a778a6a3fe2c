"""One connection: uvicorn's, with an end to what a client may send, and to the time that it may take.

uvicorn reads a head of any length, and waits for its next byte as long as the client likes.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recommendation_api.problems import problem

LARGEST_HEAD = 32_768  # bytes of the address and all headers
REQUEST_SECONDS = 10.0


class Connection(HttpToolsProtocol):
    """Refuses what is no HTTP, too long or too slow, with a problem document, and closes.

    Attributes:
        request_seconds: from the first byte of a request, or the beginning of the connection, to the last byte of its body.
    """

    request_seconds: ClassVar[float] = REQUEST_SECONDS
    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # None before the first request, says uvicorn's code

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0  # bytes of a head that is not there in full, before those that came last
        self._last = 0
        self._limit: asyncio.TimerHandle | None = None
        self._refusal: Response | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first request."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(self.request_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is not there in full has until the clock rings."""
        self._last = len(data)
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and not cycle.more_body:  # as nearly always: all is there
            if self._limit is not None:
                self._stop_clock()
        elif not self.transport.is_closing():
            self._wait_for_more()

    def on_headers_complete(self) -> None:
        """Let the application begin, unless the head is too long."""
        if self._head + self._last > LARGEST_HEAD:  # with a body, or other requests, perhaps
            length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if length > LARGEST_HEAD:
                self._refusal = _too_large()
                raise ValueError("head too long")  # ends the parser; uvicorn then calls send_400_response
        self._head = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request, or why it is refused."""
        self._refuse(self._refusal or problem(400, "bad request", msg))

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: no other protocol is offered, and the answer shows it."""

    def _in_head(self) -> bool:
        """Whether the request that is awaited, or has begun, has not reached the application."""
        return self.cycle is None or self.cycle.scope is not self.scope

    def _wait_for_more(self) -> None:
        if self._in_head():
            self._head += self._last
            if self._head > LARGEST_HEAD:
                self._refuse(_too_large())
                return
        if self._limit is None:
            self._limit = self.loop.call_later(self.request_seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._in_head() and self.cycle is not None and not self.cycle.response_complete:
            self._limit = self.loop.call_later(self.request_seconds, self._too_slow)  # the one before is being answered
            return
        self._limit = None
        seconds = f"{self.request_seconds:g}"
        self._refuse(problem(408, "request timeout", f"the request was not there in full within {seconds} s"))

    def _refuse(self, said: Response) -> None:
        """Say so, unless another answer is or was given to this request, and close."""
        self._stop_clock()
        cycle = self.cycle
        if cycle is None or (cycle.response_complete if self._in_head() else not cycle.response_started):
            headers = [*said.raw_headers, (b"connection", b"close")]
            lines = [STATUS_LINE[said.status_code], *(b"%s: %s\r\n" % header for header in headers), b"\r\n"]
            self.transport.write(b"".join(lines) + bytes(said.body))
        if cycle is not None:
            cycle.disconnected = True  # what the application says now would come second
            cycle.message_event.set()
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _too_large() -> Response:
    return problem(431, "request header fields too large", f"address and headers have at most {LARGEST_HEAD} bytes")
