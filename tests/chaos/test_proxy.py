"""The proxy does to connections what each mode says, and forwards them untouched otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.chaos.proxy import FaultProxy, Mode


class Server:
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.taken = 0
        counting = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                counting.taken += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: connections that break are what is tested."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    made = FaultProxy(server.port, slow_seconds=0.3)
    yield made
    made.close()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", timeout=10, trust_env=False) as made:
        yield made


def _post(client: httpx.Client, body: bytes = b"reload") -> bytes:
    return client.post("/", content=body).raise_for_status().content


def test_it_forwards_untouched(client: httpx.Client, proxy: FaultProxy, server: Server) -> None:
    """Large bodies come back byte by byte, over one connection."""
    body = bytes(range(256)) * 4096
    assert [_post(client, body) == body for _ in range(3)] == [True] * 3
    assert (server.taken, proxy.disturbed) == (3, 0)


def test_slow_is_late_and_right(client: httpx.Client, proxy: FaultProxy) -> None:
    proxy.set(Mode.SLOW)
    started = time.monotonic()
    assert httpx.post(str(client.base_url), content=b"x", timeout=10, trust_env=False).content == b"x"
    assert time.monotonic() - started >= 2 * proxy.slow_seconds  # the request waits, and the answer does


def test_reset_breaks_open_and_new_connections(client: httpx.Client, proxy: FaultProxy, server: Server) -> None:
    """Before the server has heard of anything."""
    _post(client)
    proxy.set(Mode.RESET)
    for _ in range(2):
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            _post(client)
    assert server.taken == 1


def test_refused_connections_are_refused_and_come_back(client: httpx.Client, proxy: FaultProxy, server: Server) -> None:
    proxy.set(Mode.REFUSE, seconds=1.0)
    time.sleep(0.3)  # the listener notices within its poll
    with pytest.raises(httpx.ConnectError):
        _post(client)
    assert server.taken == 0
    time.sleep(1.0)
    assert _post(client) == b"reload"


def test_a_black_hole_takes_and_says_nothing(client: httpx.Client, proxy: FaultProxy) -> None:
    """Connecting works, as with a host that went away behind a load balancer; what was sent arrives when it is over."""
    proxy.set(Mode.BLACK_HOLE)
    with pytest.raises(httpx.ReadTimeout):
        client.post("/", content=b"reload", timeout=0.6)
    proxy.set(Mode.PASS)
    assert _post(client) == b"reload"


def test_a_lost_answer_is_work_that_was_done(client: httpx.Client, proxy: FaultProxy, server: Server) -> None:
    proxy.set(Mode.ANSWER_LOST)
    with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
        _post(client)
    assert (server.taken, proxy.lost, proxy.disturbed) == (1, 1, 1)


def test_a_fault_ends_when_its_time_is_up_unless_another_one_began(proxy: FaultProxy) -> None:
    """The end of the first fault does not end the second one."""
    proxy.set(Mode.SLOW, seconds=0.2)
    proxy.set(Mode.BLACK_HOLE, seconds=0.6)
    time.sleep(0.4)
    meanwhile = proxy.mode
    time.sleep(0.5)
    assert (meanwhile, proxy.mode) == (Mode.BLACK_HOLE, Mode.PASS)
