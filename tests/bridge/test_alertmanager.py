"""A real Alertmanager delivers to a real bridge: what it sends is understood, what was refused is sent again."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.monitoring_programs import Server
from tests.api.replica import wait_until
from tests.bridge.conftest import StartBridge
from tests.bridge.process import TOKEN, Bridge, route_to
from tests.fakes_wecom import FakeWeCom
from tests.monitoring import alertmanager_with, need

NAMES = {"alertname": "RecommendationErrors", "severity": "critical", "run_id": "r1"}


@pytest.fixture(scope="module", autouse=True)
def _program() -> None:
    need("alertmanager")


@contextmanager
def serving(bridge: Bridge, folder: Path, token: Path, *, repeat: str = "1s") -> Iterator[Server]:
    """Start Alertmanager; see :func:`route_to`."""
    with alertmanager_with(folder / "alertmanager", route_to(bridge, token, repeat=repeat)) as server:
        yield server


@pytest.fixture
def started(start: StartBridge, tmp_path: Path) -> Iterator[tuple[Bridge, Server]]:
    """Start both; Alertmanager repeats every second."""
    bridge = start(airflow_url="http://airflow.example")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with serving(bridge, tmp_path, token) as server:
        yield bridge, server


def tell(server: Server, *, minutes: float, start: dt.datetime, **labels: str) -> None:
    """Tell Alertmanager of an alert, as Prometheus does: it ends so many minutes from now."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    alert = {
        "labels": {**NAMES, **labels},
        "annotations": {"summary": "错误率 12 %", "runbook": "docs/runbooks/errors.md"},
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat(),
    }
    server.http.post("/api/v2/alerts", json=[alert]).raise_for_status()


def titles(service: FakeWeCom) -> list[str]:
    return [text.splitlines()[0] for text in service.texts]


def test_told_once_from_the_beginning_to_the_end(started: tuple[Bridge, Server], service: FakeWeCom) -> None:
    """However often Alertmanager repeats it, with its own fingerprint and link."""
    bridge, server = started
    begun = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    tell(server, minutes=5, start=begun)
    wait_until("it was repeated", lambda: (bridge.webhooks("accepted") or 0) >= 4)
    (known,) = server.http.get("/api/v2/alerts").json()
    tell(server, minutes=-0.01, start=begun)
    wait_until("its end is told", lambda: len(service.received) == 2)
    time.sleep(2)  # two more intervals, in which nothing may come
    assert titles(service) == ["**🚨 RecommendationErrors**", "**✅ Resolved: RecommendationErrors**"]
    assert "错误率 12 %\nrun_id `r1`\nsince " in service.texts[0]
    port = server.url.rpartition(":")[2]  # its own idea of its name is the machine's
    assert re.search(rf"\[Silence\]\(http://[^/]+:{port}/#/silences/new\?filter=%7Balertname%3D", service.texts[0])
    assert f"model_release.acknowledge {known['fingerprint']} --by" in service.texts[0]
    assert bridge.webhooks("invalid") == 0


def test_the_bridge_is_down_for_a_while(started: tuple[Bridge, Server], service: FakeWeCom) -> None:
    """Alertmanager keeps what nobody took; the bridge is killed once more while the alert is repeated."""
    bridge, server = started
    bridge.kill()
    begun = dt.datetime.now(dt.UTC)
    tell(server, minutes=5, start=begun)
    tell(server, minutes=5, start=begun, run_id="r2")
    time.sleep(2)
    assert service.received == []
    bridge.start()
    wait_until("both are told", lambda: sum(text.count("acknowledge: ") for text in service.texts) == 2)
    bridge.wait_idle()
    bridge.kill()
    bridge.start()
    wait_until("it was repeated", lambda: (bridge.webhooks("accepted") or 0) >= 2)
    tell(server, minutes=-0.01, start=begun)
    tell(server, minutes=-0.01, start=begun, run_id="r2")
    wait_until("the ends are told", lambda: sum(text.count("from 20") for text in service.texts) == 2)
    told = "\n".join(service.texts)
    assert [told.count(f"run_id `{run_id}`") for run_id in ("r1", "r2")] == [2, 2]


def test_what_could_not_be_kept_comes_again(started: tuple[Bridge, Server], service: FakeWeCom) -> None:
    """While the bridge's disk takes nothing it answers 503, and Alertmanager tries again by itself."""
    bridge, server = started
    held = sqlite3.connect(bridge.home / "data" / "alert_bridge" / "queue.sqlite", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")  # a writer that does not come to an end
    tell(server, minutes=5, start=dt.datetime.now(dt.UTC))
    wait_until("it was refused", lambda: "was answered 503" in bridge.log)
    assert service.received == []
    held.execute("ROLLBACK")
    held.close()
    wait_until("it is told", lambda: len(service.received) == 1, 60)


def test_what_was_refused_comes_again_before_it_is_repeated(
    start: StartBridge, service: FakeWeCom, tmp_path: Path
) -> None:
    """A wrong token is 401, which Alertmanager does not try again at once; it does with the next `group_interval`."""
    bridge = start()
    token = tmp_path / "token"
    token.write_text("wrong")
    with serving(bridge, tmp_path, token, repeat="1h") as server:
        begun = dt.datetime.now(dt.UTC)
        tell(server, minutes=5, start=begun)
        wait_until("it was refused", lambda: (bridge.webhooks("unauthorized") or 0) >= 1)
        token.write_text(TOKEN)
        wait_until("it is told", lambda: len(service.received) == 1)
        token.write_text("wrong")
        before = bridge.webhooks("unauthorized") or 0
        tell(server, minutes=-0.01, start=begun)
        wait_until("its end was refused", lambda: (bridge.webhooks("unauthorized") or 0) > before)
        token.write_text(TOKEN)
        wait_until("its end is told", lambda: len(service.received) == 2)
    assert titles(service) == ["**🚨 RecommendationErrors**", "**✅ Resolved: RecommendationErrors**"]
