"""Replicas that keep the HTTP contract on loopback, and fail in every way they are told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel

from model_release.adapters.serving_formats import open_model
from model_release.contract import LEASE_PATH, Answer, LeaseRequest, ReloadRequest
from model_release.errors import ReplicaRefusedError
from model_release_airflow.context import Stores
from tests.fake_replicas import FakeReplica


def connection(servers: Sequence[ReplicaServer]) -> str:
    """Return Airflow's connection that lists ``servers``, as its environment variable has it."""
    listed = {"replicas": [server.url for server in servers]}
    return json.dumps({"conn_type": "recommendation_api", "password": "reload-token-for-tests", "extra": listed})


class ReplicaServer:
    """One replica: a :class:`FakeReplica` behind HTTP that answers from the run's real files.

    ``status`` is answered to everything while it is set; ``deaf`` replicas acknowledge a switch and keep serving what
    they served; ``answers_from`` is the run that answers users although another one is reported.
    """

    def __init__(self, stores: Stores, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.stores = stores
        self.replica = FakeReplica(stores.registry)
        self.replica.look()
        self.status: int | None = None
        self.deaf = False
        self.answers_from: str | None = None
        self.posts: list[tuple[ReloadRequest, str]] = []
        self.leases: list[LeaseRequest] = []
        self.reads = 0
        self._server = ThreadingHTTPServer(address, self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://{address[0]}:{self.port}"
        self.replica.url = self.url

    def close(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def get(self, path: str) -> BaseModel:
        """Answer a GET."""
        address = urlsplit(path)
        if address.path == "/models":
            self.reads += 1
            return self.replica.models()
        user = unquote(address.path.removeprefix("/recommend/"))
        k = int(parse_qs(address.query)["k"][0])
        current = self.replica.served.current
        run_id = self.answers_from or (current.run_id if current else "")
        model = open_model(self.stores.runs.folder(run_id), self.stores.runs.manifest(run_id))
        items = model.recommend(user, k)
        return Answer(
            run_id=run_id,
            variant="current",
            items=tuple(model.popular(k) if items is None else items),
            known=items is not None,
        )

    def post(self, path: str, body: bytes, authorization: str) -> BaseModel:
        """Answer a POST of a reload, or of a lease."""
        if path == LEASE_PATH:
            lease = LeaseRequest.model_validate_json(body)
            self.leases.append(lease)
            return self.replica.lease(lease)
        request = ReloadRequest.model_validate_json(body)
        self.posts.append((request, authorization))
        if self.deaf and not request.prepare:
            served = self.replica.served
            receipt = self.replica.reload(request)
            self.replica.served = served
            return receipt
        return self.replica.reload(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(lambda: outer.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(lambda: outer.post(self.path, body, self.headers.get("Authorization", "")))

            def _answer(self, make: Any) -> None:
                status, text = outer.status or 200, b'{"title": "told to fail", "status": 500}'
                if outer.status is None:
                    try:
                        text = make().model_dump_json().encode()
                    except ReplicaRefusedError as error:
                        status = error.status
                        text = f'{{"title": "{error.title}", "status": {status}, "detail": "{error}"}}'.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
                """Stay silent."""

        return Handler
