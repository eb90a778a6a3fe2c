"""What comes in: Alertmanager's webhook of version 4 with the right token, and nothing else; all of it is counted."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from scripts.services import StackError
from tests.api.replica import wait_until
from tests.bridge.conftest import StartBridge
from tests.bridge.process import TOKEN, Bridge, bearer
from tests.bridge.webhooks import alert, webhook
from tests.fakes_wecom import FakeWeCom


def post(bridge: Bridge, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return bridge.http.post("/alertmanager", content=content, headers=headers or {})


def broken(**about: Any) -> bytes:
    return json.dumps({**webhook(alert()), **about}).encode()


def test_bad_input_is_refused_with_a_reason(start: StartBridge, service: FakeWeCom) -> None:
    """400 for what is not JSON, 422 for what is no webhook of version 4; the reason names the place, the log has it too."""
    bridge = start()
    one = alert()
    cases = [
        (b"", 400, "not JSON"),
        (b'{"version": "4", ', 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[]", 422, "version 4"),
        (b"{}", 422, "version"),
        (broken(version="3"), 422, "version"),
        (broken(alerts={}), 422, "alerts"),
        (broken(alerts=[{**one, "status": "pending"}]), 422, "alerts.0.status"),
        (broken(alerts=[{**one, "startsAt": "yesterday"}]), 422, "alerts.0.startsAt"),
        (broken(alerts=[{**one, "startsAt": "2026-11-25T09:17:03"}]), 422, "alerts.0.startsAt"),
        (broken(alerts=[{**one, "startsAt": "0001-01-01T00:00:00+08:00"}]), 422, "alerts.0.startsAt"),
        (broken(alerts=[{**one, "endsAt": "9999-12-31T23:59:59-08:00"}]), 422, "alerts.0.endsAt"),
        (broken(alerts=[{**one, "fingerprint": "../x"}]), 422, "alerts.0.fingerprint"),
        (broken(alerts=[{**one, "labels": {"a": 1}}]), 422, "alerts.0.labels.a"),
        (broken(alerts=[one, {**one, "labels": None}]), 422, "alerts.1.labels"),
    ]
    for body, status, reason in cases:
        answer = post(bridge, body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), body
        assert reason in answer.json()["detail"], body
    assert (bridge.webhooks("malformed"), bridge.webhooks("invalid")) == (3, len(cases) - 3)
    assert "a webhook was answered 422: not a webhook of Alertmanager" in bridge.log
    assert service.received == []


def test_a_caller_who_hangs_up_leaves_no_trace(start: StartBridge, service: FakeWeCom) -> None:
    """Half a body is nothing, and no reason for a traceback."""
    bridge = start()
    host, port = bridge.url.removeprefix("http://").split(":")
    head = (
        f"POST /alertmanager HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5000\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(head.encode() + broken()[:100])
        time.sleep(0.3)
    wait_until("it is counted", lambda: bridge.webhooks("malformed") == 1)
    assert "Traceback" not in bridge.log
    assert service.received == []


def test_later_versions_of_alertmanager_may_add_keys(start: StartBridge, service: FakeWeCom) -> None:
    """What is not known is not needed."""
    bridge = start()
    assert bridge.post(webhook({**alert(), "new": 1}, notificationReason="x")).status_code == 200
    bridge.wait_idle()
    assert len(service.received) == 1


def test_only_who_has_the_token_may_post(start: StartBridge, service: FakeWeCom) -> None:
    """A wrong, empty or missing token is 401, before the body is looked at; health and metrics are open."""
    bridge = start()
    for headers in ({}, bearer("bridge-token-77ab"), {"Authorization": "Basic bridge-token-77aa"}):
        answer = httpx.post(f"{bridge.url}/alertmanager", content=b"x", headers=headers, trust_env=False)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert bridge.webhooks("unauthorized") == 3
    assert service.received == []
    for path in ("/health", "/metrics"):
        assert httpx.get(bridge.url + path, trust_env=False).status_code == 200


def test_development_lets_loopback_in(start: StartBridge) -> None:
    """Without a token, and not behind a proxy, where everybody comes from loopback."""
    bridge = start(token="", development="true")
    body = webhook(alert())
    assert httpx.post(f"{bridge.url}/alertmanager", json=body, trust_env=False).status_code == 200
    behind = {"X-Forwarded-For": "203.0.113.9"}
    assert httpx.post(f"{bridge.url}/alertmanager", json=body, headers=behind, trust_env=False).status_code == 403


def test_a_body_has_a_limit(start: StartBridge, service: FakeWeCom) -> None:
    """Whether it says how long it is or not."""
    bridge = start(body_kilobytes="4")
    long = broken(groupKey="x" * 5000)
    assert post(bridge, long).status_code == 413

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(long), 1000):
            yield long[at : at + 1000]
            time.sleep(0.1)  # each arrives by itself

    assert bridge.http.post("/alertmanager", content=slowly()).status_code == 413
    assert bridge.webhooks("too_large") == 2
    assert service.received == []


def test_nothing_is_acknowledged_that_is_not_on_disk(start: StartBridge, service: FakeWeCom) -> None:
    """While the queue can't be written the answer is 503, so that Alertmanager tries again; then it is taken."""
    bridge = start()
    queue = sqlite3.connect(bridge.home / "data" / "alert_bridge" / "queue.sqlite", isolation_level=None)
    queue.execute("BEGIN IMMEDIATE")  # a writer that does not come to an end
    answer = bridge.post(webhook(alert()))
    assert (answer.status_code, answer.json()["title"]) == (503, "not stored")
    assert service.received == []
    queue.execute("ROLLBACK")
    queue.close()
    wait_until("it is taken", lambda: bridge.post(webhook(alert())).status_code == 200)
    bridge.wait_idle()
    assert len(service.received) == 1
    assert bridge.webhooks("not_stored") == 1


def test_a_token_file_is_read_again(start: StartBridge, tmp_path: Path) -> None:
    """The token is exchanged without a restart."""
    file = tmp_path / "token"
    file.write_text("old-token\n")
    bridge = start(token="", token_file=str(file))

    def status(token: str) -> int:
        headers = bearer(token)
        return httpx.post(f"{bridge.url}/alertmanager", json={}, headers=headers, trust_env=False).status_code

    assert (status("old-token"), status("new-token")) == (422, 401)
    file.write_text("new-token\nold-token\n")
    assert (status("old-token"), status("new-token")) == (422, 422)


def test_the_queue_is_nobody_elses(start: StartBridge) -> None:
    """Alerts may name what is not for everybody."""
    bridge = start()
    assert stat.S_IMODE((bridge.home / "data" / "alert_bridge").stat().st_mode) == 0o700


def test_a_dead_courier_ends_the_bridge(start: StartBridge) -> None:
    """Whoever supervises it starts it anew; a bridge that takes alerts and tells none would be worse."""
    bridge = start()
    bridge.stop()
    queue = sqlite3.connect(bridge.home / "data" / "alert_bridge" / "queue.sqlite", isolation_level=None)
    queue.execute("INSERT INTO messages (target, kind, body, queued_at) VALUES ('ops', 'firing', '[]', 9e9)")
    queue.close()
    with contextlib.suppress(StackError):  # it may have ended before it answered once
        bridge.start()
    wait_until("the bridge ends", lambda: bridge.ended)
