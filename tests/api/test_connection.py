"""What a client may send, and how long it may take: an answer or a problem document, and no connection held for ever."""

from __future__ import annotations

import json
import time

import pytest

from recommendation_api.connection import LARGEST_HEAD
from tests.api.conftest import StartReplica
from tests.api.raw_http import HOST, Said, connect, listen, say
from tests.api.replica import TOKEN, Replica

LAST = HOST + b"Connection: close\r\n"
AUTHORIZED = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
REQUEST_SECONDS = 0.5
HURRY = {"RECOMMENDATION_API_REQUEST_SECONDS": str(REQUEST_SECONDS)}


def check(said: Said, status: int) -> str:
    """Return the detail of a problem document after which the connection was closed."""
    assert (said.status, said.closed) == (status, True), said
    assert said.headers["content-type"] == "application/problem+json"
    assert said.headers["connection"] == "close"
    problem = json.loads(said.body)
    assert problem["status"] == status
    return str(problem["detail"])


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /recommend/\xe8\x8b\xb9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT shop:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"X-Request-Id: a\rSet-Cookie: b\r\n\r\n",
        b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"X-Request-Id: a\x00b\r\n\r\n",
        b"POST /models/reload HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /models/reload HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
        b"POST /models/reload HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST /models/reload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
    ],
)
def test_what_is_no_http_is_refused(replica: Replica, data: bytes) -> None:
    """TLS on the wrong port, letters outside ASCII, headers that would split an answer, two lengths of one body."""
    said = say(replica.url, data)
    if said.status != 401:  # a wrong chunk is found when the head was refused already
        check(said, 400)
    assert said.closed
    assert "set-cookie" not in said.headers
    assert replica.ready


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_http_1_0_is_spoken(replica: Replica, version: bytes) -> None:
    """Old probes send no Host."""
    said = say(replica.url, b"GET /recommend/u1 HTTP/%s\r\nConnection: close\r\n\r\n" % version)
    assert (said.status, said.closed, json.loads(said.body)["run_id"]) == (200, True, "run-a")


def test_requests_in_one_go_are_answered_in_order(replica: Replica) -> None:
    """Also where a quick answer waits behind a slow one."""
    ask = b"GET %s HTTP/1.1\r\n%s\r\n"
    paths = (b"/models", b"/recommend/u1", b"/metrics", b"/similar/i1")
    said = say(replica.url, b"".join(ask % (path, HOST) for path in paths) + ask % (b"/no-such-path", LAST))
    assert said.status == 200
    marks = (b'"workers_expected"', b'"variant"', b"# HELP", b'"variant"', b'"not found"')
    places, at = [], 0
    for mark in marks:
        at = said.body.find(mark, at) + 1
        places.append(at)
    assert 0 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("pieces", [1, 16])
@pytest.mark.parametrize("line", [b"X-Long: %s\r\n", b"X-Request-Id: %s\r\n", b"X-Long: a\r\n" * 4000 + b"X: %s\r\n"])
def test_a_head_that_is_too_long_is_refused(replica: Replica, line: bytes, pieces: int) -> None:
    """However it comes, and before it has ended."""
    ends = b"\r\n\r\n" if pieces == 1 else b""  # the other one never ends
    head = b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + line % (b"a" * LARGEST_HEAD) + ends
    step = len(head) // pieces + 1
    with connect(replica.url) as connection:
        for start in range(0, len(head), step):
            try:
                connection.sendall(head[start : start + step])
            except ConnectionError:
                break  # it has heard enough
        said = listen(connection)
    assert said.closed
    if said.status:  # nothing is heard of it if the server closed with bytes still on their way
        assert str(LARGEST_HEAD) in check(said, 431)


def test_an_address_that_is_too_long_is_refused(replica: Replica) -> None:
    """It counts like headers."""
    check(say(replica.url, b"GET /recommend/" + b"a" * LARGEST_HEAD + b" HTTP/1.1\r\n" + HOST + b"\r\n"), 431)


def test_a_head_of_the_allowed_length_is_read(replica: Replica) -> None:
    """Also with more requests behind it."""
    long = b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * (LARGEST_HEAD - 100) + b"\r\n\r\n"
    said = say(replica.url, long + long + b"GET /recommend/u1 HTTP/1.1\r\n" + LAST + b"\r\n")
    assert said.status == 200
    assert said.body.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /recommend/u",
        b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"X-Slow: a",
        b"POST /models/reload HTTP/1.1\r\n" + HOST + AUTHORIZED + b"Content-Length: 200\r\n\r\n{",
        b"POST /models/lease HTTP/1.1\r\n" + HOST + AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
def test_a_request_that_does_not_end_is_given_up(start: StartReplica, begun: bytes) -> None:
    """A connection that says nothing, half a head, half a body; bytes that trickle in win no time; nothing is changed."""
    replica = start(settings=HURRY)
    before = replica.home.registry.read()
    with connect(replica.url) as connection:
        connection.sendall(begun)
        connection.settimeout(REQUEST_SECONDS / 10)
        began, got = time.monotonic(), b""
        while time.monotonic() - began < 10:
            try:
                piece = connection.recv(65_536)
            except TimeoutError:
                if begun and b"chunked" not in begun:
                    connection.sendall(b"a")
                continue
            if not piece:
                break
            got += piece
        took = time.monotonic() - began
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["title"] == "request timeout"
    assert REQUEST_SECONDS * 0.9 < took < 9
    assert replica.home.registry.read() == before
    assert "Traceback" not in replica.log


def test_an_answered_request_whose_body_does_not_end_is_closed_in_silence(start: StartReplica) -> None:
    """One request has one answer."""
    replica = start(settings=HURRY)
    said = say(replica.url, b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n{")
    assert (said.status, said.closed) == (200, True)
    assert b"HTTP/1.1" not in said.body


def test_a_connection_between_two_requests_is_kept(start: StartReplica) -> None:
    """The clock runs for requests, not for connections: the time of rest between them is another setting."""
    replica = start(settings=HURRY)
    ask = b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"\r\n"
    with connect(replica.url) as connection:
        connection.settimeout(REQUEST_SECONDS * 1.5)
        for _ in range(2):
            connection.sendall(ask)
            said = listen(connection)
            assert (said.status, said.closed) == (200, False)


def test_no_other_protocol_is_offered(replica: Replica) -> None:
    """Whoever asks for one is answered in HTTP/1.1, and nothing is written to the log."""
    before = replica.log
    for other in (b"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"h2c"):
        said = say(
            replica.url,
            b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, close\r\nUpgrade: " + other + b"\r\n\r\n",
        )
        assert said.status == 200
    assert replica.log == before


def test_a_later_request_has_its_own_time(start: StartReplica) -> None:
    """The first one on the connection was there at once, the second one never is."""
    replica = start(settings=HURRY)
    ask = b"GET /recommend/u1 HTTP/1.1\r\n" + HOST + b"\r\n"
    with connect(replica.url) as connection:
        connection.sendall(ask)
        got = b""
        while not got.endswith(b"}"):
            got += connection.recv(65_536)
        connection.sendall(ask[:20])
        check(listen(connection), 408)
    assert got.startswith(b"HTTP/1.1 200 OK")
