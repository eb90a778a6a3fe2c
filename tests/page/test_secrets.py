"""No answer holds a secret: whatever is asked, whatever fails, and though the services behind say back what they were sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient

from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from model_release_airflow.context import Stores
from model_release_airflow.page import asking
from tests.airflow.replica_server import ReplicaServer
from tests.page.conftest import Login
from tests.page.history import write_history
from tests.page.test_security import EXPECTED, SAID
from tests.page.yesterday import write_yesterday

MARK = "s3cr3t"
VARIABLES = (
    "PROMETHEUS_TOKEN", "ALERTMANAGER_TOKEN", "MODEL_RELOAD_TOKEN", "WECOM_WEBHOOK_URL", "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW_CONN_WECOM", "AIRFLOW_VAR_KEY", "POSTGRES_PASSWORD",
)  # fmt: skip


class _Echo(BaseHTTPRequestHandler):
    """A service that says back what it was sent: its headers in its answer, and in the answer's own."""

    status = 200

    def do_GET(self) -> None:
        said = dict(self.headers)
        body = json.dumps(
            {"title": str(said), "detail": str(said), "error": str(said), "status": "error", "data": said}
        ).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("X-Said", str(said).replace("\n", " "))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        seen.append(str(said))

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


seen: list[str] = []


@pytest.fixture(params=[200, 401, 500, None], ids=str)
def behind(request: pytest.FixtureRequest, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A whole history, secrets in every variable, and services that answer with a status and the secrets; None: none is there."""
    current = write_history(paths, utc_now()).registry.read().current
    write_yesterday(paths, utc_now(), current.run_id if current else "none")
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{MARK}-{name}")
    monkeypatch.setattr(asking, "FRESH_SECONDS", 0.0)
    handler = type("Handler", (_Echo,), {"status": request.param or 200})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    known = {"replicas": [url], "more": f"{MARK}-extra"}
    connection = {
        "conn_type": "recommendation_api",
        "login": f"{MARK}-login",
        "password": f"{MARK}-password",
        "extra": known,
    }
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps(connection))
    monkeypatch.setenv("PROMETHEUS_URL", url)
    monkeypatch.setenv("ALERTMANAGER_URL", url)
    if request.param is None:
        server.shutdown()
        server.server_close()
    seen.clear()
    yield str(request.param)
    if request.param is not None:
        server.shutdown()
        server.server_close()


def answers(client: TestClient, page: str) -> Iterator[tuple[str, str]]:
    """Ask every route, and some wrongly; give each with all that came: status, headers, body."""
    runs = [run["run_id"] for run in client.get(f"{page}/api/runs").json()["data"]["runs"]]
    release = client.get(f"{page}/api/timeline").json()["data"]["releases"][0]["release_id"]
    right = {"left": runs[0], "right": runs[1], "user_id": "u1", "action": "rollback"}
    right |= dict(zip(("dag_id", "dag_run_id"), release.split(":", 1), strict=True))
    for method, path in EXPECTED:
        address = page + path.replace("{release_id}", release).replace("{fingerprint}", "0123")
        for params in (right, {}, {**right, "left": "../etc", "action": "x", "start": "x"}):
            for body in (SAID, {"reason": "", "minutes": 0}):
                answer = client.request(method, address, params=params, json=body if method == "POST" else None)
                yield f"{method} {path} {params}", f"{answer.status_code} {answer.headers} {answer.text}"


def test_no_answer_holds_a_secret(login: Login, page: str, behind: str) -> None:
    client, asked = login("admin", cookie=True), 0
    token = str(client.cookies["_token"])
    for what, text in answers(client, page):
        assert MARK not in text, (behind, what)
        assert token not in text, (behind, what)
        asked += 1
    assert asked > len(EXPECTED)
    if behind != "None":  # they were sent, so that they could have come back
        sent = " ".join(seen)
        assert {name for name in ("PROMETHEUS_TOKEN", "ALERTMANAGER_TOKEN") if f"{MARK}-{name}" in sent} == {
            "PROMETHEUS_TOKEN",
            "ALERTMANAGER_TOKEN",
        }


def test_a_replica_that_refuses_says_no_secret(
    login: Login, page: str, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message is shown, but never what was sent to it."""
    write_history(paths, utc_now())
    replica = ReplicaServer(Stores.from_environment())
    replica.status = 403
    try:
        known = {
            "conn_type": "recommendation_api",
            "password": f"{MARK}-password",
            "extra": {"replicas": [replica.url]},
        }
        monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps(known))
        monkeypatch.setattr(asking, "FRESH_SECONDS", 0.0)
        found = login("viewer").get(f"{page}/api/fleet")
        assert found.json()["data"]["replicas"][0]["state"] == "refused"
        assert MARK not in found.text
    finally:
        replica.close()
