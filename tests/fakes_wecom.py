"""A WeCom group robot on loopback: it takes and refuses messages as the documentation says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LIMITS = {"markdown": 4096, "text": 2048}


@dataclass
class FakeWeCom:
    """What the service got, and how it is to behave.

    ``faults`` are used up one per message: an ``errcode``, an HTTP status of 400 or more as ``("http", status)``, or
    ``("drop", 0)`` to close the connection without an answer after the message was taken.
    """

    key: str = "0d5f2c1e-robot-key"
    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    faults: list[int | tuple[str, int]] = field(default_factory=list)

    def connection(self, **extra: Any) -> str:
        """Return Airflow's connection to it, as an environment variable holds one."""
        port = urlsplit(self.url).port
        fields = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": port, "password": self.key}
        return json.dumps({**fields, "extra": extra})

    @property
    def texts(self) -> list[str]:
        """Content of the messages that it took, oldest first."""
        return [message[message["msgtype"]]["content"] for message in self.received]

    def judge(self, key: str, body: bytes) -> int:
        """Return the errcode for a message; keep it if that is 0."""
        if key != self.key:
            return 93000
        try:
            message = json.loads(body)
            content = message[message["msgtype"]]["content"]
        except (ValueError, KeyError, TypeError):
            return 40058
        if not content or len(content.encode()) > LIMITS[message["msgtype"]]:
            return 40058
        self.received.append(message)
        return 0


@contextmanager
def wecom() -> Iterator[FakeWeCom]:
    """Run such a service on a free port of loopback."""
    fake = FakeWeCom()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.attempts += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            address = urlsplit(self.path)
            key = parse_qs(address.query).get("key", [""])[0]
            fault = fake.faults.pop(0) if fake.faults else None
            match fault:
                case ("drop", _):
                    fake.judge(key, body)
                    self.close_connection = True
                    return
                case ("http", status):
                    self._answer(int(status), b"<html>busy</html>")
                    return
                case int(code):
                    errcode = code
                case _:
                    errcode = fake.judge(key, body)
            said = {"errcode": errcode, "errmsg": "ok" if errcode == 0 else "freq out of limit ok"}
            self._answer(200, json.dumps(said).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
