"""Prometheus and Alertmanager on loopback, speaking their documented JSON, errors included; what they say is made up.

For tests of how answers are read.  That real ones are understood, other tests show with the real programs.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Value = Callable[[float], float | str | None]  # of a series at a Unix time; None: there is no sample
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """What is sent instead of the right answer.

    Attributes:
        status: of HTTP.
        body: the bytes of the answer.
        headers: beside the usual ones.
        cut: how many bytes of the body are sent before the connection is closed; None: all.
        wait_seconds: before anything is sent.
        drip_seconds: between two bytes.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait_seconds: float = 0.0
    drip_seconds: float = 0.0


def said(document: Any, **about: Any) -> Reply:
    """Return a reply of this JSON."""
    return Reply(json.dumps(document).encode(), **about)


Poison = Callable[[str, Mapping[str, str], dict[str, Any]], "Reply | dict[str, Any] | None"]


@dataclass
class FakePrometheus:
    """What it knows, and how it is to lie.

    Attributes:
        series: by selector: labels of each series, and its value at any time.
        skew_seconds: of its clock from the one here.
        poison: given path (``query``, ``query_range``), parameters and the right answer, what is sent instead; None: that.
        asked: parameters of all calls.
        seen: headers of all calls.
    """

    url: str = ""
    series: dict[str, list[tuple[Labels, Value]]] = field(default_factory=dict)
    skew_seconds: float = 0.0
    poison: Poison = lambda _path, _asked, _right: None
    asked: list[dict[str, str]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)

    def now(self) -> float:
        """Return its time."""
        return time.time() + self.skew_seconds

    def answer(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return the right answer."""
        query = asked["query"]
        if query == "time()":
            at = self.now()
            return _success("scalar", [at, f"{at:.3f}"])
        if path == "query_range":
            start, end, step = (float(asked[key]) for key in ("start", "end", "step"))
            times = [start + step * place for place in range(int((end - start) / step + 1e-6) + 1)]
            found = []
            for labels, value in self.series.get(query, []):
                values = [[at, str(sample)] for at in times if (sample := value(at)) is not None]
                if values:
                    found.append({"metric": dict(labels), "values": values})
            return _success("matrix", found)
        at = float(asked["time"])
        if query.startswith("timestamp(") and query.endswith(")"):
            inner = query.removeprefix("timestamp(").removesuffix(")")
            stamped = [({k: v for k, v in labels.items() if k != "__name__"}, at) for labels, _ in self.series[inner]]
            return _success("vector", [{"metric": labels, "value": [at, str(when)]} for labels, when in stamped])
        points = [(labels, value(at)) for labels, value in self.series.get(query, [])]
        return _success(
            "vector",
            [{"metric": dict(labels), "value": [at, str(value)]} for labels, value in points if value is not None],
        )


@dataclass
class FakeAlertmanager:
    """The alerts and silences that it has, as its API gives them; ``posted`` are bodies, ``asked`` paths; ``reply`` goes before any."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    silences: list[dict[str, Any]] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    reply: Reply | None = None


def alert(name: str, *, since: str, silenced: bool = False, inhibited: bool = False, **labels: str) -> dict[str, Any]:
    """Return an alert as Alertmanager 0.25 shows it."""
    return {
        "annotations": {"summary": f"{name} is firing"},
        "endsAt": "2099-01-01T00:00:00.000Z",
        "fingerprint": "0123456789abcdef",
        "receivers": [{"name": "default"}],
        "startsAt": since,
        "status": {
            "inhibitedBy": ["fedcba9876543210"] if inhibited else [],
            "silencedBy": ["b5b6f0f5-6a4d-4b0f-9d8e-0e1d7d0f5e11"] if silenced else [],
            "state": "suppressed" if silenced or inhibited else "active",
        },
        "updatedAt": since,
        "generatorURL": "http://prometheus:9090/graph",
        "labels": {"alertname": name, **labels},
    }


@contextmanager
def fake_prometheus() -> Iterator[FakePrometheus]:
    """Run one on a free port."""
    fake = FakePrometheus()

    def respond(path: str, asked: dict[str, str], headers: dict[str, str]) -> Reply:
        fake.asked.append(asked)
        fake.seen.append(headers)
        place = path.rpartition("/")[2]
        right = fake.answer(place, asked)
        sent = fake.poison(place, asked, right)
        if isinstance(sent, Reply):
            return sent
        return said(right if sent is None else sent)

    with _served(respond) as url:
        fake.url = url
        yield fake


@contextmanager
def fake_alertmanager() -> Iterator[FakeAlertmanager]:
    """Run one on a free port."""
    fake = FakeAlertmanager()

    def respond(path: str, asked: dict[str, str], _headers: dict[str, str]) -> Reply:
        fake.asked.append(path)
        if "json" in asked and fake.reply is None:
            fake.posted.append(asked["json"].encode())
            return said({"silenceID": "0f0e0d0c"})
        return fake.reply or said(fake.silences if path.endswith("/silences") else fake.alerts)

    with _served(respond) as url:
        fake.url = url
        yield fake


def _success(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are a part of the tests."""


@contextmanager
def _served(respond: Callable[[str, dict[str, str], dict[str, str]], Reply]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            self._respond({"json": [body]} if is_json else parse_qs(body))

        def _respond(self, asked: dict[str, list[str]]) -> None:
            reply = respond(
                urlsplit(self.path).path, {key: values[0] for key, values in asked.items()}, dict(self.headers)
            )
            time.sleep(reply.wait_seconds)
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            body = reply.body if reply.cut is None else reply.body[: reply.cut]
            if not reply.drip_seconds:
                self.wfile.write(body)
            else:
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    self.wfile.flush()
                    time.sleep(reply.drip_seconds)
            if reply.cut is not None:
                self.close_connection = True
                self.connection.close()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
