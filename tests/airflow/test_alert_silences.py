"""Automatic silences with a real Alertmanager: set once, extended, ended; told once; and the gate says no meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from model_release.adapters.alertmanager_silences import alerts_and_silences
from model_release.adapters.evidence import collect_alerts
from model_release.adapters.sources import Sources
from model_release.checks import alerts as alerts_check
from model_release.contract import utc_now
from model_release.policy import AlertsPolicy, load_policy
from model_release.silences import Silence
from model_release.verdict import Verdict
from model_release_airflow.context import Stores
from model_release_airflow.notifications.state import WeComAlertsNotifier
from model_release_airflow.operators.alerts_quiet import AlertsQuietOperator
from scripts.check_dags import read_dags
from scripts.monitoring_programs import Server
from tests import monitoring
from tests.airflow.contexts import context
from tests.api.replica import wait_until
from tests.fakes_wecom import FakeWeCom

PROJECT = Path(__file__).resolve().parents[2]
LOW = {"alertname": "DataQualityLow", "severity": "warning", "table": "interactions"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monitoring.need("alertmanager", "amtool")
    with monitoring.alertmanager(tmp_path / "alertmanager") as found:
        monkeypatch.setenv("ALERTMANAGER_URL", found.url)
        fire(found, {"alertname": "Watchdog", "severity": "none"}, hours=1)
        yield found


def fire(server: Server, labels: dict[str, str] = LOW, *, hours: float, over: bool = False) -> None:
    """Tell Alertmanager that an alert began so many hours ago, and whether it is over."""
    now = utc_now()
    ends = now - dt.timedelta(seconds=1) if over else now + dt.timedelta(hours=1)
    began = now - dt.timedelta(hours=hours)
    alert = {"labels": labels, "startsAt": began.isoformat(), "endsAt": ends.isoformat()}
    server.http.post("/api/v2/alerts", json=[alert]).raise_for_status()


def measure(stores: Stores, score: float) -> None:
    stores.paths.evaluation.mkdir(parents=True, exist_ok=True)
    lines = [
        f'data_quality_score{{table="interactions"}} {score}',
        f"data_quality_last_run_timestamp_seconds {utc_now().timestamp()}",
        "data_quality_tables 1",
    ]
    stores.paths.data_quality_metrics.write_text("\n".join(lines) + "\n")


def quiet(number: int = 0, **rules: Any) -> list[str]:
    """Do what one DAG run does, with its callback."""
    operator = AlertsQuietOperator(task_id="quiet", **rules)
    found = context(operator, run_id=f"scheduled__{number}")
    news: list[str] = operator.execute(found)
    WeComAlertsNotifier().notify(found)
    return news


def silences(server: Server) -> list[Silence]:
    _, found = asyncio.run(alerts_and_silences(Sources(alertmanager_url=server.url)))
    return [one for one in found if one.state == "active"]


def test_one_silence_from_the_repetition_to_the_recovery(stores: Stores, server: Server, robot: FakeWeCom) -> None:
    """Set by two runs at once it is one; looked at again it stays; when the score is good it ends; each told once."""
    measure(stores, 42.0)
    fire(server, hours=1)
    assert quiet() == []
    assert silences(server) == []
    fire(server, hours=3)
    with ThreadPoolExecutor(4) as pool:
        news = list(pool.map(quiet, range(4)))
    assert sum(map(len, news)) == 1
    (made,) = silences(server)
    assert (made.labels, made.created_by) == (LOW, "model-release")
    assert dt.timedelta(hours=11) < made.ends_at - utc_now() <= dt.timedelta(hours=12)
    assert quiet(5) == []
    assert silences(server) == [made]

    fire(server, hours=3, over=True)
    wait_until("Alertmanager has forgotten it", lambda: LOW not in labels(server))
    stores.paths.data_quality_metrics.write_text("data_quality_score")
    assert quiet(6) == [], "the file is cut: nobody knows"
    assert silences(server) == [made]
    measure(stores, 97.0)
    with ThreadPoolExecutor(4) as pool:
        news = list(pool.map(quiet, range(7, 11)))
    assert sum(map(len, news)) == 1
    assert silences(server) == []
    silenced, recovered = robot.texts
    assert silenced.startswith("**🔕 An alert about the data repeats: silenced, releases wait**")
    assert recovered.startswith("**✅ Recovered: the data is good again**")
    assert "DataQualityLow of table interactions" in recovered
    assert "the score is 97.0" in recovered


def labels(server: Server) -> list[dict[str, str]]:
    return [one["labels"] for one in server.http.get("/api/v2/alerts").raise_for_status().json()]


def test_a_silence_that_is_half_over_is_extended_in_place(stores: Stores, server: Server) -> None:
    """The id stays; a second is a short silence."""
    measure(stores, 42.0)
    fire(server, hours=3)
    short = 4 / 3600
    quiet(1, silence_hours=short)
    (first,) = silences(server)
    wait_until("half of it is over", lambda: first.ends_at - utc_now() < dt.timedelta(seconds=1.8))
    assert quiet(2, silence_hours=short) == []
    (second,) = silences(server)
    assert second.id == first.id
    assert second.ends_at > first.ends_at


def test_while_it_is_silent_the_production_policy_passes_no_release(stores: Stores, server: Server) -> None:
    """Visibly, with the alert by name; silenced or not; before it fired and when it is over the check passes."""
    policy = load_policy(PROJECT / "config" / "release_policy.production.yaml")
    (check,) = [one for one in policy.checks if isinstance(one, AlertsPolicy) and one.name == "no-alert-about-the-data"]
    assert check.blocks

    def verdict(asked: AlertsPolicy = check) -> tuple[Verdict, str]:
        evidence = collect_alerts("new", "r1", sources=Sources(alertmanager_url=server.url))
        last = alerts_check.check(asked, evidence, utc_now())[-1]
        return last.verdict, last.reason

    measure(stores, 42.0)
    assert verdict()[0] is Verdict.PASS
    fire(server, hours=3)
    assert verdict()[0] is Verdict.FAIL
    assert len(quiet()) == 1
    assert verdict()[0] is Verdict.FAIL
    assert "DataQualityLow{severity=warning, table=interactions}" in verdict()[1]
    assert "(silenced)" in verdict()[1]
    assert verdict(replace_silenced(check))[0] is Verdict.PASS, "then the check would see nothing"
    fire(server, hours=3, over=True)
    wait_until("Alertmanager has forgotten it", lambda: LOW not in labels(server))
    assert verdict()[0] is Verdict.PASS


def replace_silenced(check: AlertsPolicy) -> AlertsPolicy:
    return check.model_copy(update={"silenced": "ignore"})


def test_without_an_address_nothing_is_silenced_and_it_says_so(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERTMANAGER_URL", raising=False)
    with pytest.raises(AirflowSkipException, match="ALERTMANAGER_URL is not set"):
        quiet()
    assert stores.ledger.read() == []


def test_an_alertmanager_that_is_away_is_tried_again_and_a_rule_without_sense_is_not(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTMANAGER_URL", "http://127.0.0.1:9")
    with pytest.raises(AirflowException, match="can't be asked") as failed:
        quiet()
    assert not isinstance(failed.value, AirflowFailException)
    with pytest.raises(AirflowFailException, match="silence_hours is 48"):
        quiet(silence_hours=48)
    assert stores.ledger.read() == []


def test_the_dag_looks_every_five_minutes_from_the_start() -> None:
    dag: Any = read_dags().dags["recommendation_alert_silences"]
    assert dag.timetable.expression == "*/5 * * * *"
    assert (dag.catchup, dag.max_active_runs, dag.is_paused_upon_creation) == (False, 1, False)
    assert [task.task_id for task in dag.tasks] == ["quiet"]
