"""The load generator: the schedule stands whatever the server does, and nothing that goes wrong is left out."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from benchmarks.load import Answer, Load, get, post, summarise

RATE, SECONDS = 100.0, 1.0
SENT = round(RATE * SECONDS)
STALL = 0.3  # seconds


@dataclass
class Server:
    """Answers in a thread of its own, whose event loop a ``reply`` may block: then everybody waits.

    Attributes:
        reply: makes the answer to the n-th request; None: close the connection without one.
        arrivals: when each request came, in seconds of ``time.monotonic()``.
        requests: their heads and bodies.
        connections: how many were opened.
        hangs_up: whether it closes the connection after every answer.
    """

    reply: Callable[[int], bytes | None]
    hangs_up: bool = False
    arrivals: list[float] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def run(self, started: threading.Event, ended: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while request := await reader.read(65_536):
            self.arrivals.append(time.monotonic())
            self.requests.append(request)
            answer = self.reply(len(self.arrivals) - 1)
            if answer is None:
                break
            writer.write(answer)
            if self.hangs_up:
                break
        writer.close()


StartServer = Callable[[Callable[[int], bytes | None]], Server]


@pytest.fixture
def start() -> Iterator[StartServer]:
    """Start a server; it is ended with the test."""
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread]] = []

    def start_one(reply: Callable[[int], bytes | None]) -> Server:
        server, started = Server(reply), threading.Event()
        loop, ended = asyncio.new_event_loop(), asyncio.Event()

        def work() -> None:
            loop.run_until_complete(server.run(started, ended))
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

        thread = threading.Thread(target=work)
        thread.start()
        running.append((loop, ended, thread))
        assert started.wait(10)
        return server

    yield start_one
    for loop, ended, thread in running:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def ask(port: int, *, connections: int = 4, timeout_seconds: float = 5.0, seconds: float = SECONDS) -> list[Answer]:
    load = Load(
        host="127.0.0.1",
        port=port,
        rate=RATE,
        seconds=seconds,
        request=lambda number: get(f"/{number}"),
        connections=connections,
        timeout_seconds=timeout_seconds,
    )
    return asyncio.run(load.run())


def test_rate_is_constant(start: StartServer) -> None:
    """Every request is sent once, over connections that are kept, none before it is due; due times are 1/rate apart."""
    server = start(lambda _: answer())
    answers = sorted(ask(server.port), key=lambda one: one.number)
    assert [one.number for one in answers] == list(range(SENT))
    assert len(server.arrivals) == SENT
    assert answers[-1].scheduled - answers[0].scheduled == pytest.approx((SENT - 1) / RATE)
    early = [at for at, one in zip(server.arrivals, answers, strict=True) if at < one.scheduled]
    assert not early
    assert server.connections <= 4
    assert summarise(answers).answered == SENT


def test_stall_shows_in_the_latency_of_everybody_who_waited(start: StartServer) -> None:
    """While a server stalls, requests go on falling due: many wait, not only one per connection."""
    connections = 2

    def stall_once(number: int) -> bytes:
        if number == SENT // 3:
            time.sleep(STALL)
        return answer()

    answers = ask(start(stall_once).port, connections=connections)
    waited = [one for one in answers if one.latency > STALL / 3]
    assert summarise(answers).lost == 0
    assert len(waited) > 4 * connections  # 20 of the 30 that fell due in the stall
    assert max(one.latency for one in answers) >= STALL * 0.9


def test_dead_server_is_counted() -> None:
    """A port that nobody listens on loses every request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, and never listening: nobody else gets it
        summary = summarise(ask(probe.getsockname()[1], seconds=0.2))
    assert summary.failures == {"refused": 20}
    assert (summary.sent, summary.answered, summary.lost) == (20, 0, 20)
    assert math.isnan(summary.p99)


def test_silent_server_is_counted_and_ends() -> None:
    """A server that never answers costs one timeout in all, not one per request that waits."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        answers = ask(silent.getsockname()[1], connections=1, timeout_seconds=0.3, seconds=0.5)
    assert summarise(answers).failures == {"timeout": 50}


def test_late_answer_is_nobody_elses(start: StartServer) -> None:
    """An answer that comes after its request has failed is dropped; the next request gets its own."""

    def path_of_newest(number: int) -> bytes:
        if number == SENT // 3:
            time.sleep(STALL)
        return answer(server.requests[-1].split()[1])

    server = start(path_of_newest)
    answers = ask(server.port, connections=1, timeout_seconds=STALL / 3)
    assert {one.failure for one in answers} == {None, "timeout"}
    assert [one.number for one in answers if one.failure is None and one.body != f"/{one.number}".encode()] == []


def test_failures_are_told_apart(start: StartServer) -> None:
    """Closed connections and refusals are failures by kind; the connection is opened again."""

    def sometimes(number: int) -> bytes | None:
        return {0: None, 1: answer(status="503 Service Unavailable"), 2: b"no http\r\n\r\n"}.get(number % 5, answer())

    summary = summarise(ask(start(sometimes).port, connections=1))
    assert summary.failures == {"closed": 20, "status 503": 20, "malformed": 20}
    assert summary.answered == 40


@pytest.mark.parametrize("headers", ["Connection: close\r\n", ""])
def test_server_may_close_after_an_answer(start: StartServer, headers: str) -> None:
    """A connection that the server closes between requests, announced or not, is opened again; nothing is lost."""
    server = start(lambda _: answer(headers=headers))
    server.hangs_up = True
    assert summarise(ask(server.port, connections=10, seconds=0.2)).lost == 0  # each is used again after 0.1 s
    assert server.connections == len(server.arrivals) == 20


def test_bodies_and_moments_reach_the_callback(start: StartServer) -> None:
    """Each answer is handed over as it comes, with its body, in pieces or not."""
    pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrun\r\n2\r\n-b\r\n0\r\n\r\n"
    server, seen = start(lambda _: pieces), list[Answer]()
    load = Load("127.0.0.1", server.port, RATE, 0.1, lambda number: post("/x", {"n": number}), on_answer=seen.append)
    assert asyncio.run(load.run()) == seen
    assert {one.body for one in seen} == {b"run-b"}
    assert sorted(request.partition(b"\r\n\r\n")[2] for request in server.requests)[3] == b'{"n": 3}'


def test_load_may_be_ended_early(start: StartServer) -> None:
    """After ``finish`` nothing falls due; what was sent is answered."""
    server, seen = start(lambda _: answer()), list[Answer]()

    def end_after_ten(one: Answer) -> None:
        seen.append(one)
        if len(seen) == 10:
            load.finish()

    load = Load("127.0.0.1", server.port, RATE, 60.0, lambda number: get(f"/{number}"), on_answer=end_after_ten)
    assert asyncio.run(load.run()) == seen
    assert 10 <= len(seen) < 60 * RATE / 2
    assert sorted(one.number for one in seen) == list(range(len(seen)))
    assert summarise(seen).lost == 0


def test_percentiles_are_latencies_that_somebody_had() -> None:
    """Nearest rank: of 1 to 100 the p50 is 50, the p99 is 99; failures are not among them."""
    answers = [Answer(number, 0.0, float(number), 200, b"", None) for number in range(1, 101)]
    summary = summarise([*answers, Answer(101, 0.0, 1e6, None, b"", "timeout")])
    assert (summary.p50, summary.p95, summary.p99, summary.max) == (50, 95, 99, 100)
    assert summary.lost == 1
