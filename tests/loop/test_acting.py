"""An alert in a real Alertmanager starts one rollback in a real Airflow, whatever is sent again or restarted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.contract import ReloadRequest, utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.registry import Registry
from scripts.local_stack import LocalStack
from scripts.services import free_port
from tests import monitoring
from tests.bridge.process import TOKEN, Bridge, route_to
from tests.fakes_wecom import FakeWeCom, wecom
from tests.live.installation import ROLLBACK, Ended, Installation
from tests.runs import publish_run

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ACT = "recommendation_act_on_alerts"
RUNS = ("alert-a", "alert-b", "alert-c")
WAIT_SECONDS = 120.0  # the machine may be busy; what it takes on a quiet one, docs/how-to/act-on-alerts.md says


@pytest.fixture
def robot() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture
def port() -> int:
    """Where Alertmanager is, before and after a restart."""
    monitoring.need("alertmanager")
    return free_port()


@pytest.fixture
def group() -> Iterator[FakeWeCom]:
    """Where alerts are told."""
    with wecom() as fake:
        yield fake


@pytest.fixture
def config(tmp_path: Path, group: FakeWeCom) -> Iterator[str]:
    """An Alertmanager's, that tells a running bridge every second what fires."""
    token = tmp_path / "bridge-token"
    token.write_text(TOKEN)
    (tmp_path / "bridge").mkdir()
    bridge = Bridge(tmp_path / "bridge", group).start()
    yield route_to(bridge, token)
    bridge.stop()
    bridge.http.close()


@pytest.fixture
def shop(tmp_path: Path, robot: FakeWeCom, port: int) -> Iterator[Installation]:
    """A, B and C served in turn; C is current."""
    extra = {"ALERTMANAGER_URL": f"http://127.0.0.1:{port}", "AIRFLOW_CONN_WECOM_ROBOT": robot.connection()}
    with LocalStack(tmp_path, extra=extra) as stack, stack.rest() as rest:
        made = Installation(stack, rest, robot)
        for seed, run_id in enumerate(RUNS):
            publish_run(made.paths, run_id, seed=seed)
            with RecommendationApiClient(stack.api_url, token=stack.reload_token) as api:
                api.reload(ReloadRequest(run_id=run_id))
        made.wait_until(
            "Airflow knows the DAGs", lambda: all(rest.get(f"/dags/{dag}").is_success for dag in (ACT, ROLLBACK))
        )
        yield made


def send(port: int, run_id: str, *, began: dt.datetime, minutes: float = 5.0) -> None:
    """Post an alert as Prometheus does, which sends it again and again; it ends so many minutes from now."""
    labels = {"alertname": "RecommendationErrors", "severity": "critical", "run_id": run_id, "slot": "current"}
    body = {
        "labels": labels,
        "annotations": {"summary": f"12 % of the answers of {run_id} are errors"},
        "startsAt": began.isoformat(),
        "endsAt": (utc_now() + dt.timedelta(minutes=minutes)).isoformat(),
    }
    httpx.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=[body], trust_env=False).raise_for_status()


def rollbacks(shop: Installation) -> list[str]:
    found = shop.rest.get(f"/dags/{ROLLBACK}/dagRuns").raise_for_status().json()["dag_runs"]
    return [run["dag_run_id"] for run in found]


def alert_entries(shop: Installation) -> list[LedgerEntry]:
    return [entry for entry in FileLedger(shop.paths).read() if entry.event.value.startswith("alert_")]


def state(shop: Installation) -> Registry:
    return FileRegistry(shop.paths).read()


def decided(shop: Installation, run_id: str, count: int) -> None:
    def enough() -> bool:
        return [entry.run_id for entry in alert_entries(shop)].count(run_id) == count

    shop.wait_until(f"{count} decisions about {run_id}", enough, WAIT_SECONDS)


def told(group: FakeWeCom, run_id: str) -> list[str]:
    """Return the signs of the messages about alerts that name a run, oldest first."""
    return [text.splitlines()[0].strip("*")[0] for text in group.texts if f"`{run_id}`" in text]


def test_one_alert_is_one_rollback_whatever_is_sent_again_or_restarted(
    shop: Installation, port: int, config: str, group: FakeWeCom, tmp_path: Path
) -> None:
    """C goes back to B, and the latch is set.  Sent 100 times, Alertmanager and Airflow restarted, B in trouble too: B stays.

    Of the alert that was sent all the time, people were told once that it fires, and once that it ended.
    """
    with monitoring.alertmanager_with(tmp_path / "first", config, port=port):
        began = utc_now()
        send(port, "alert-c", began=began)
        shop.wait_until("a rollback is started", lambda: len(rollbacks(shop)) == 1, WAIT_SECONDS)
        (dag_run_id,) = rollbacks(shop)
        ended: Ended = shop.ended(ROLLBACK, dag_run_id)
        assert ended.state == "success", ended.tasks
        assert dag_run_id.startswith("alert__")
        events = [event for event in ended.events if event != "notified"]
        assert events == ["alert_acted", "latch_set", "committed", "rolled_back", "verified"]
        assert {worker.current for worker in shop.models().workers} == {"alert-b"}
        for _ in range(100):
            send(port, "alert-c", began=began)
    generation = state(shop).generation

    shop.stack.services["airflow"].stop()  # and with it the triggerer and its memory
    with monitoring.alertmanager_with(tmp_path / "second", config, port=port):  # nor does this one remember anything
        send(port, "alert-c", began=began)
        send(port, "alert-b", began=utc_now())  # the run that was gone back to
        shop.stack.start_airflow()
        shop.stack.wait_for_airflow()
        decided(shop, "alert-b", 1)
        decided(shop, "alert-c", 1)
        assert told(group, "alert-c") == ["🚨"]
        send(port, "alert-c", began=began, minutes=0.0)
        shop.wait_until("people are told that it ended", lambda: told(group, "alert-c") != ["🚨"], WAIT_SECONDS)
        send(port, "alert-c", began=began, minutes=0.0)
    with monitoring.alertmanager_with(tmp_path / "third", config, port=port):
        send(port, "alert-c", began=utc_now())  # as if everybody had forgotten since when it fires
        decided(shop, "alert-c", 2)
        assert rollbacks(shop) == [dag_run_id]
        assert told(group, "alert-c") == ["🚨", "✅", "🚨"]  # the last is about another firing
        assert told(group, "alert-b") == ["🚨"]
    after = state(shop)
    assert (after.generation, after.current and after.current.run_id) == (generation, "alert-b")
    assert after.latch is not None
    entries = alert_entries(shop)
    assert [entry.run_id for entry in entries if entry.event is Event.ALERT_ACTED] == ["alert-c"]
    left = {entry.run_id: entry.reason for entry in entries if entry.event is Event.ALERT_LEFT}
    assert left["alert-b"].startswith("the latch is set since")
    assert left["alert-c"] == "it names run 'alert-c': current is alert-b, on trial is none"
    assert [entry.event for entry in FileLedger(shop.paths).read()].count(Event.LATCH_SET) == 1
    text = shop.told(ended)
    assert text.startswith("**↩️ Rolled back: alert-b**")
    assert "12 % of the answers of alert-c are errors" in text
    assert len(shop.robot.texts) == 1
