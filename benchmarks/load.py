"""Requests at a constant rate, whatever the server does: an open-loop load generator for one address on loopback.

A closed loop (each connection asks again when it has its answer) goes easy on a server that stalls: it sends less, and
so sees the stall once per connection.  Users don't wait for each other.  Here request i is due at ``start + i / rate``;
if no connection is free it waits in a queue, and its latency counts from the moment it was due.

    load = Load(host="127.0.0.1", port=8000, rate=200.0, seconds=10.0, request=lambda number: get(f"/users/{number}"))
    answers = asyncio.run(load.run())
    print(summarise(answers))
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httptools

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request; times in seconds of ``time.monotonic()``.

    Attributes:
        number: place in the schedule, from 0.
        scheduled: when it was due.
        finished: when the whole answer was there, or the request had failed.
        status: the answer's status; None: there was none.
        body: the answer's body.
        failure: None for a 2xx, else ``refused``, ``closed``, ``timeout``, ``malformed`` or ``status <n>``.
    """

    number: int
    scheduled: float
    finished: float
    status: int | None
    body: bytes
    failure: str | None

    @property
    def latency(self) -> float:
        """Seconds from when it was due, so that waiting for a free connection counts."""
        return self.finished - self.scheduled


@dataclass(frozen=True)
class Summary:
    """Of many answers; latencies in seconds, of the 2xx only, NaN where there are none."""

    sent: int
    answered: int
    p50: float
    p95: float
    p99: float
    max: float
    failures: Mapping[str, int]

    @property
    def lost(self) -> int:
        """Requests without a 2xx."""
        return self.sent - self.answered


def summarise(answers: Sequence[Answer]) -> Summary:
    """Count and rank; percentiles are the nearest rank, so each is a latency that somebody had."""
    latencies = sorted(answer.latency for answer in answers if answer.failure is None)
    failures = Counter(answer.failure for answer in answers if answer.failure is not None)

    def rank(share: float) -> float:
        return latencies[max(0, math.ceil(share * len(latencies)) - 1)] if latencies else math.nan

    return Summary(len(answers), len(latencies), rank(0.5), rank(0.95), rank(0.99), rank(1.0), dict(failures))


def get(path: str) -> bytes:
    """Return a GET request as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, document: object) -> bytes:
    """Return a POST of a JSON document as it goes over the wire."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Load:
    """``rate`` requests per second for ``seconds``, over keep-alive connections.

    Attributes:
        request: makes the bytes of request ``number``; see :func:`get` and :func:`post`.
        connections: how many requests can be under way at once.
        timeout_seconds: a request without an answer this long after it was due has failed.
        on_answer: is called with every answer as it comes; for whoever can't wait for the end.
    """

    host: str
    port: int
    rate: float
    seconds: float
    request: Callable[[int], bytes]
    connections: int = 16
    timeout_seconds: float = 5.0
    on_answer: Callable[[Answer], None] = lambda _: None
    _answers: list[Answer] = field(default_factory=list, init=False)
    _start: float = field(default=0.0, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    async def run(self) -> list[Answer]:
        """Send everything; return the answers in the order in which they came.

        Takes at most ``seconds + timeout_seconds``: what could not be sent by then has failed.
        """
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[int | None] = asyncio.Queue()
        self._answers, self._start = [], time.monotonic()
        self._stop.clear()
        # A thread, for an event loop's timers are whole milliseconds.
        pacer = threading.Thread(
            target=self._pace, args=(lambda number: loop.call_soon_threadsafe(due.put_nowait, number),), daemon=True
        )
        pacer.start()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.connections):
                    group.create_task(self._work(due))
        finally:
            self._stop.set()
            pacer.join()
        return self._answers

    def finish(self) -> None:
        """Let nothing more fall due; ``run`` returns when what was due is answered."""
        self._stop.set()

    def _pace(self, release: Callable[[int | None], object]) -> None:
        for number in range(round(self.rate * self.seconds)):
            if self._stop.wait(max(0.0, self._due(number) - time.monotonic())):
                break
            release(number)
        for _ in range(self.connections):
            release(None)

    def _due(self, number: int) -> float:
        return self._start + number / self.rate

    async def _work(self, due: asyncio.Queue[int | None]) -> None:
        connection = _Connection(self.host, self.port)
        try:
            while (number := await due.get()) is not None:
                answer = await self._ask(connection, number)
                self._answers.append(answer)
                self.on_answer(answer)
        finally:
            connection.close()

    async def _ask(self, connection: _Connection, number: int) -> Answer:
        status, body = None, b""
        try:
            async with asyncio.timeout_at(self._due(number) + self.timeout_seconds):
                status, body = await connection.exchange(self.request(number))
                failure = None if status // 100 == 2 else f"status {status}"  # noqa: PLR2004  (2xx)
        except TimeoutError:
            failure = "timeout"
        except ConnectionRefusedError:
            failure = "refused"
        except OSError:
            failure = "closed"
        except httptools.HttpParserError:
            failure = "malformed"
        if status is None:
            connection.close()  # an answer that still comes must not pass for the next request's
        return Answer(number, self._due(number), time.monotonic(), status, body, failure)


class _Connection:
    """A keep-alive connection that is opened again when it is needed again."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and return status and body of the answer; a broken connection is an ``OSError``."""
        if self._streams is not None and self._streams[0].at_eof():  # closed while it was idle, as servers may
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request)
        answer = _Incoming()
        while not answer.complete:
            data = await reader.read(_CHUNK)
            if not data:
                raise ConnectionResetError("closed before the answer was complete")
            answer.parser.feed_data(data)
        if not answer.keep_alive:
            self.close()
        return answer.parser.get_status_code(), bytes(answer.body)

    def close(self) -> None:
        """Close at once, without waiting for what is under way."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class _Incoming:
    """An answer on its way; ``parser`` calls the methods."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.keep_alive = False
        self.complete = False

    def on_headers_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()  # it forgets when the message is complete

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
