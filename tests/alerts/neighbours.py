"""Who else is there: Airflow's health page, and what takes Alertmanager's webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class Neighbours:
    """Both on one port of loopback.

    Attributes:
        url: base address.
        unhealthy: parts of Airflow that are not healthy.
        webhooks: bodies that came, with their authorization.
    """

    def __init__(self, url: str) -> None:
        from airflow.api_fastapi.core_api.datamodels.monitor import HealthInfoResponse

        self._model = HealthInfoResponse
        self.url = url
        self.unhealthy: set[str] = set()
        self.webhooks: list[tuple[str, dict[str, Any]]] = []

    def health(self) -> bytes:
        """Return what Airflow's page answers, made by its own model."""
        status = {part: {"status": "unhealthy" if part in self.unhealthy else "healthy"} for part in PARTS}
        for part in PARTS[1:]:
            status[part][f"latest_{part}_heartbeat"] = "2026-03-01T00:00:00+00:00"
        return self._model.model_validate(status).model_dump_json().encode()


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """Answer as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/api/v2/monitor/health":
                self._answer(there.health())
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            there.webhooks.append((self.headers.get("Authorization", ""), body))
            self._answer(b"{}")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Neighbours(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
