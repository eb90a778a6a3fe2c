"""WeCom on loopback, robots and apps: it takes and refuses messages as the documentation says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LIMITS = {"markdown": 4096, "text": 2048}
APP_LIMITS = {"markdown": 2048, "text": 2048}
ROBOT_PATH, APP_PATH, TOKEN_PATH = "/cgi-bin/webhook/send", "/cgi-bin/message/send", "/cgi-bin/gettoken"
_MINUTE = 60.0

Fault = int | tuple[str, float]


@dataclass
class FakeWeCom:
    """What the service got, and how it is to behave.

    ``faults`` are used up one per message: an ``errcode``; an HTTP status of 400 or more as ``("http", status)``;
    ``("drop", 0)`` and ``("close", 0)`` close the connection without an answer after and before the message was taken;
    ``("hang", seconds)`` takes it, ``("stall", seconds)`` does not, and both are silent for so long before they close;
    ``("slow", seconds)`` takes it and says so after a while.

    Attributes:
        key: of the robot.
        more_keys: of further robots.
        received: what robots and the app took, in this order.
        by_key: the same of each robot.
        app_received: the same of the app; what its check for duplicates knew again is in ``app_repeated``.
        attempts: messages that came, taken or not.
        times: when each of ``received`` came, in seconds of the monotonic clock.
        faults: of the next messages.
        token_faults: of the next requests for a token.
        per_minute: messages that a robot takes in a minute; more are refused with 45009; None: any number.
        corp_id, secret, agent_id: of the app.
        tokens: that were given out, in this order; only the last one is valid, unless it is in ``expired``.
        expired: tokens that are not valid any more.
        unknown_users: whom the app can't write to, as answers name them.
    """

    key: str = "0d5f2c1e-robot-key"
    more_keys: tuple[str, ...] = ()
    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    by_key: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    app_received: list[dict[str, Any]] = field(default_factory=list)
    app_repeated: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    times: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    token_faults: list[Fault] = field(default_factory=list)
    per_minute: int | None = None
    corp_id: str = "ww-corp-id"
    secret: str = "app-secret-5a7e"
    agent_id: int = 1000002
    tokens: list[str] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    unknown_users: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self, **extra: Any) -> str:
        """Return Airflow's connection to it, as an environment variable holds one."""
        port = urlsplit(self.url).port
        fields = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": port, "password": self.key}
        return json.dumps({**fields, "extra": extra})

    @property
    def texts(self) -> list[str]:
        """Content of the messages that it took, oldest first."""
        return [message[message["msgtype"]]["content"] for message in self.received]

    def judge(self, path: str, asked: dict[str, str], body: bytes) -> int:
        """Return the errcode for a message; keep it if that is 0."""
        with self.lock:
            return self._judge_app(asked, body) if path == APP_PATH else self._judge_robot(asked, body)

    def _judge_robot(self, asked: dict[str, str], body: bytes) -> int:
        key = asked.get("key", "")
        if key not in {self.key, *self.more_keys}:
            return 93000
        message = _message(body, LIMITS)
        if message is None:
            return 40058
        now = time.monotonic()
        if self.per_minute is not None and sum(at > now - _MINUTE for at in self.times) >= self.per_minute:
            return 45009
        self._keep(message, self.by_key.setdefault(key, []))
        return 0

    def _judge_app(self, asked: dict[str, str], body: bytes) -> int:
        token = asked.get("access_token", "")
        if not self.tokens or token != self.tokens[-1] or token in self.expired:
            return 42001 if token in self.expired else 40014
        message = _message(body, APP_LIMITS)
        if message is None:
            return 40058
        if message.get("agentid") != self.agent_id:
            return 40056
        if not message.get("touser") and not message.get("toparty"):
            return 81013
        if message.get("enable_duplicate_check") == 1 and message in self.app_received:
            self.app_repeated.append(message)
            return 0
        self._keep(message, self.app_received)
        return 0

    def _keep(self, message: dict[str, Any], where: list[dict[str, Any]]) -> None:
        where.append(message)
        self.received.append(message)
        self.times.append(time.monotonic())

    def give_token(self, asked: dict[str, str]) -> dict[str, Any]:
        """Return a new access token."""
        with self.lock:
            if asked.get("corpid") != self.corp_id:
                return {"errcode": 40013, "errmsg": "invalid corpid"}
            if asked.get("corpsecret") != self.secret:
                return {"errcode": 40001, "errmsg": "invalid credential"}
            self.tokens.append(f"access-token-{len(self.tokens) + 1}-c9f1")
            return {"errcode": 0, "errmsg": "ok", "access_token": self.tokens[-1], "expires_in": 7200}


def _message(body: bytes, limits: dict[str, int]) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] = json.loads(body)
        content = message[message["msgtype"]]["content"]
    except (ValueError, KeyError, TypeError):
        return None
    return message if content and len(content.encode()) <= limits[message["msgtype"]] else None


class _Handler(BaseHTTPRequestHandler):
    fake: FakeWeCom
    ended: threading.Event

    def do_GET(self) -> None:
        fault = self.fake.token_faults.pop(0) if self.fake.token_faults else None
        self._respond(fault, lambda: self.fake.give_token(self._asked()))

    def do_POST(self) -> None:
        with self.fake.lock:
            self.fake.attempts += 1
            fault = self.fake.faults.pop(0) if self.fake.faults else None
        if isinstance(fault, tuple) and fault[0] == "close":
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        more = {"invaliduser": self.fake.unknown_users} if path == APP_PATH and self.fake.unknown_users else {}
        self._respond(fault, lambda: {**_said(self.fake.judge(path, self._asked(), body)), **more})

    def _asked(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def _respond(self, fault: Fault | None, right: Callable[[], dict[str, Any]]) -> None:
        match fault:
            case ("drop", _):
                right()
                self.close_connection = True
            case ("hang" | "stall" as how, seconds):
                if how == "hang":
                    right()
                self.ended.wait(seconds)
                self.close_connection = True
            case ("slow", seconds):
                answer = json.dumps(right()).encode()
                self.ended.wait(seconds)
                self._answer(200, answer)
            case ("http", status):
                self._answer(int(status), b"<html>busy</html>")
            case int(code):
                self._answer(200, json.dumps(_said(code)).encode())
            case _:
                self._answer(200, json.dumps(right()).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that are killed are a part of the tests."""


@contextmanager
def wecom(port: int = 0) -> Iterator[FakeWeCom]:
    """Run such a service on loopback; on a free port unless one is given."""
    fake, ended = FakeWeCom(), threading.Event()
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"fake": fake, "ended": ended}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _said(errcode: int) -> dict[str, Any]:
    return {"errcode": errcode, "errmsg": "ok" if errcode == 0 else "freq out of limit ok"}
