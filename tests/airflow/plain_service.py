"""Somebody else's model service: another reload path, another body, no generation, no registry."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

MAPPING: dict[str, Any] = {
    "reload": {
        "path": "/admin/switch",
        "bodies": {
            "primary": {"model": {"version": "$run_id"}},
            "canary": {"canary": {"version": "$run_id", "share": "$rollout"}},
        },
    },
    "status": {"path": "/status", "run_id": "/model/version", "candidate": "/canary/version"},
    "probe": {"path": "/recs/$user_id?n=$k", "run_id": "/by", "items": "/items"},
    "trials_without_lease": True,
}


class PlainService:
    """One of its processes.

    ``status`` is answered to everything while it is set, ``text`` instead of JSON; with ``hangs`` it answers after so
    many seconds; a ``deaf`` one acknowledges a switch and keeps serving what it served.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.canary: str | None = None
        self.status: int | None = None
        self.text: str | None = None
        self.hangs = 0.0
        self.deaf = False
        self.lists: dict[str, dict[str, list[str]]] = {}
        self.posts: list[tuple[str, Any, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def get(self, path: str) -> Any:
        """Answer a GET."""
        if path == "/status":
            return {"model": {"version": self.version}, "canary": {"version": self.canary}}
        user = unquote(path.removeprefix("/recs/").partition("?")[0])
        return {"by": self.version, "items": self.lists.get(self.version, {}).get(user, ["i1"])}

    def switch(self, body: Any) -> None:
        """Answer a POST."""
        if self.deaf:
            return
        if "canary" in body:
            self.canary = body["canary"]["version"]
        else:
            self.version, self.canary = body["model"]["version"], None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(lambda: outer.get(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.posts.append((self.path, body, dict(self.headers)))
                self._answer(lambda: outer.switch(body))

            def _answer(self, make: Any) -> None:
                time.sleep(outer.hangs)
                status, text = outer.status or 200, outer.text
                if outer.status is None:
                    text = text or json.dumps(make())
                raw = (text or f"failed for {self.headers.get('Authorization')}").encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
                """Stay silent."""

        return Handler
