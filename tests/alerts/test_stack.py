"""A real replica, a real data-quality file, and the real monitoring on them: what the rules name is there, and alerts fire."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monitoring.grafana.generate import dashboards
from pipeline.config import load_config
from pipeline.data_quality_v2 import check_data
from scripts.monitoring_programs import Server, tool
from scripts.monitoring_stack import MonitoringStack
from tests import monitoring
from tests.alerts.airflow_metrics import COUNTS, count
from tests.alerts.neighbours import PARTS, Neighbours, neighbours
from tests.alerts.rules import recorded, rules, selectors
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.api.workers import complete
from tests.docs_pages import PROJECT
from tests.gate_live.faulty_api import VARIABLE, Fault, as_variable
from tests.gate_live.trial import visitors
from tests.live.shop import LAST_DAY, write_shop

pytestmark = pytest.mark.slow
WORKERS = 2
FIRES_SECONDS = 50.0  # from the first bad answer to Alertmanager; a minute is promised until all is rolled back
BRIDGE = ("model_release_", "alert_bridge_")
HAS_COLLECTD = tool("collectd") is not None  # not every system has it
HAS_BRIDGE = (PROJECT / "alert_bridge").is_dir()
# Of the bridge: only while a release is open, or a message waits.  Its documented table has them (tests/test_docs_alerts.py).
FOR_A_WHILE = {"model_release_open_timestamp_seconds", "alert_bridge_queue_oldest_timestamp_seconds"}
# These series begin with the first event, which is hard to provoke: the metric itself has to be there.
AFTER_AN_EVENT = {("recommendation_requests_total", "status", status) for status in ("500", "503")}


@dataclass
class Watched:
    """All that runs."""

    stack: MonitoringStack
    replica: Replica
    there: Neighbours

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager has, with these labels."""
        found = self.stack.alertmanager.http.get("/api/v2/alerts").raise_for_status().json()
        return [one for one in found if labels.items() <= one["labels"].items()]

    def wait(self, seconds: float = FIRES_SECONDS, **labels: str) -> dict[str, Any]:
        """Return the one alert with these labels as soon as it is there."""
        wait_until(f"{labels} fires", lambda: bool(self.alerts(**labels)), seconds)
        (found,) = self.alerts(**labels)
        return found

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers now."""
        answer = self.stack.prometheus.http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        assert not answer.json().get("warnings"), expression
        return list(answer.json()["data"]["result"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """run-b was tried in shadow and failed, then run-c in a canary, and fails; users come all the time."""
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    folder = tmp_path_factory.mktemp("watched")
    home = Home(folder / "home")
    check_data(load_config(write_shop(folder / "shop", LAST_DAY)), home.paths, None)
    write_reconciliation(home)
    faults = {"run-b": Fault(fail_share=0.5), "run-c": Fault(fail_share=0.5)}
    settings = {
        "RECOMMENDATION_API_WORKERS": str(WORKERS),
        "RECOMMENDATION_API_LATE_SECONDS": "10",  # a busy machine is not what is looked at
        VARIABLE: as_variable(faults),
    }
    replica = Replica(home, settings=settings, module="tests.gate_live.faulty_api")
    try:
        replica.start_ready()
        wait_until("both workers serve", lambda: complete(replica))
        target = replica.url.removeprefix("http://")
        evaluation = home.paths.root / "data" / "evaluation"
        with (
            neighbours() as there,
            MonitoringStack(
                folder / "monitoring",
                [target],
                evaluation,
                airflow_url=there.url,
                webhook_url=f"{there.url}/alertmanager",
                bridge=bridge if HAS_BRIDGE else None,
                environment=bridge_settings(home),
                token="bridge-token",
            ) as stack,
            visitors(target, 40.0),
        ):
            if not HAS_BRIDGE:
                stack.set_targets(
                    "alert-bridge", [there.url.removeprefix("http://")]
                )  # which has no metrics, so it is down
            if HAS_COLLECTD:
                count(stack.addresses, *COUNTS)
            yield Watched(stack, replica, there)
    finally:
        replica.close()


def bridge(port: int) -> list[str]:
    """Return the command that starts the real bridge; the alerts go to a neighbour who can be asked what came."""
    return ["env", f"ALERT_BRIDGE_PORT={port}", sys.executable, "-m", "alert_bridge"]


def bridge_settings(home: Home) -> dict[str, str]:
    return {
        **os.environ,
        "MODEL_RELEASE_HOME": str(home.paths.root),
        "ALERT_BRIDGE_TOKEN": "bridge-token",
        "ALERT_BRIDGE_LOG_ONLY": "true",
    }


def write_reconciliation(home: Home) -> None:
    now = dt.datetime.now(dt.UTC)
    date = now.date()
    path = home.paths.reconciliation_of(date)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"schema_version": 1, "date": str(date), "written_at": now.isoformat(), "status": "agrees", "problems": []}
    path.write_text(json.dumps(body), encoding="utf-8")


def test_a_failing_candidate_in_shadow_is_charged_with_its_errors(watched: Watched) -> None:
    """Not until the alert: a busy machine sheds shadow work, and the unit tests show what follows."""
    watched.replica.reload(run_id="run-b", mode="shadow", rollout=1.0, release_id="try-b")
    share = 'run_slot:recommendation_failed:ratio1m{run_id="run-b",slot="candidate"} > 0'
    wait_until("errors of the shadow are seen", lambda: bool(watched.query(share)), 90)


def test_a_failing_canary_is_named_and_told_to_the_bridge(watched: Watched) -> None:
    begun = time.monotonic()
    watched.replica.reload(run_id="run-c", mode="canary", rollout=0.5, release_id="try-c", lease_seconds=3600)
    watched.wait(alertname="RecommendationErrors", run_id="run-c", slot="candidate")
    seconds = time.monotonic() - begun
    assert seconds < FIRES_SECONDS, f"{seconds:.1f} s"
    degraded = watched.wait(alertname="RecommendationDegraded", run_id="run-c")
    wait_until("it is inhibited", lambda: watched.alerts(**degraded["labels"])[0]["status"]["state"] == "suppressed")

    def told() -> list[dict[str, Any]]:
        alerts = [one for _, body in watched.there.webhooks for one in body["alerts"]]
        return [one for one in alerts if one["labels"].get("run_id") == "run-c" and one["status"] == "firing"]

    wait_until("the bridge hears of it", lambda: bool(told()), 30)
    assert told()[0]["annotations"]["runbook"] == "docs/runbooks/recommendation-errors.md"
    assert {authorization for authorization, _ in watched.there.webhooks} == {"Bearer bridge-token"}


def test_a_failing_current_run_is_named_and_the_one_that_replaces_it_never(watched: Watched) -> None:
    watched.replica.reload(run_id="run-c", release_id="try-c")
    watched.wait(alertname="RecommendationErrors", run_id="run-c", slot="current")
    watched.replica.reload(run_id="run-a", release_id="back")
    wait_until("the alert ends", lambda: not watched.alerts(alertname="RecommendationErrors"), 60)
    assert not watched.query('last_over_time(ALERTS{run_id="run-a"}[10m])')


def test_every_metric_of_the_rules_is_there(watched: Watched) -> None:
    """After a shadow trial, a canary and a release, all that is named has been scraped, with the labels that are asked for."""
    expressions = [rule["expr"] for rule in rules()]
    assert missing(watched, expressions) == []


def test_every_expression_of_the_dashboards_is_there_and_can_be_evaluated(watched: Watched) -> None:
    found = [target["expr"] for one in dashboards() for panel in one["panels"] for target in panel["targets"]]
    found += [note["expr"] for one in dashboards() for note in one["annotations"]["list"]]
    expressions = [expression.replace("$__rate_interval", "1m") for expression in found]
    assert missing(watched, expressions) == []
    for expression in expressions:
        watched.query(expression)


def missing(watched: Watched, expressions: list[str]) -> list[str]:
    """Return the selectors that match no series of the last ten minutes; without a bridge, those of the others."""
    lost = set()
    for name, labels in {(name, tuple(labels.items())) for text in expressions for name, labels in selectors(text)}:
        if name.startswith("collectd_") and not HAS_COLLECTD:
            continue
        if name in FOR_A_WHILE or (name.startswith(BRIDGE) and not HAS_BRIDGE):
            continue
        asked = [(label, value) for label, value in labels if (name, label, value) not in AFTER_AN_EVENT]
        matchers = ",".join(f'{label}="{value}"' for label, value in asked)
        selector = f"{name}{{{matchers}}}"
        if not watched.query(f"last_over_time({selector}[10m])"):
            lost.add(selector)
    return sorted(lost)


def test_nothing_else_fires(watched: Watched) -> None:
    """Of a sound replica and sound data, with no bridge: only what says so."""
    names = {one["labels"]["alertname"] for one in watched.alerts()}
    assert names - {"Watchdog", "MessagesNotDelivered", "ReleaseStateUnreadable", "RecommendationErrors"} <= {
        "RecommendationDegraded"
    }
    assert "Watchdog" in names
    assert {name for name in recorded() if not watched.query(f"last_over_time({name}[10m])")} == set()
    assert not watched.query("prometheus_rule_evaluation_failures_total > 0")


def test_the_health_page_of_airflow_is_understood(watched: Watched) -> None:
    """Part by part, on the words of Airflow's own model."""

    def healthy() -> dict[str, str]:
        return {one["metric"]["component"]: one["value"][1] for one in watched.query('probe_success{job="airflow"}')}

    wait_until("all parts are healthy", lambda: healthy() == dict.fromkeys(PARTS, "1"))
    watched.there.unhealthy = {"triggerer"}
    wait_until("the triggerer is not", lambda: healthy() == dict.fromkeys(PARTS, "1") | {"triggerer": "0"})
    watched.there.unhealthy = set()


def test_a_bad_table_is_named_and_a_cut_file_is_no_good_news(watched: Watched, tmp_path: Path) -> None:
    file = watched.replica.home.paths.root / "data" / "evaluation" / "data_quality_metrics.prom"
    sound = file.read_text()

    def put(text: str) -> None:
        made = tmp_path / "made"
        made.write_text(text)
        made.replace(file)

    assert not watched.alerts(alertname="DataQualityLow")
    try:
        put(re.sub(r'(data_quality_score\{table="interactions"\}) .*', r"\1 12.5", sound))
        found = watched.wait(alertname="DataQualityLow")
        assert found["labels"]["table"] == "interactions"
        assert "is 12.5 of 100" in found["annotations"]["summary"]
        put("\n".join(sound.splitlines()[:-1]) + "\n")
        watched.wait(alertname="DataQualityUnreadable")
    finally:
        put(sound)


@pytest.mark.long
def test_alertmanager_and_prometheus_start_again_without_a_new_alert(watched: Watched) -> None:
    """Prometheus tells a new Alertmanager within a minute; Alertmanager keeps the begin that it knows."""
    stack = watched.stack
    before = watched.wait(alertname="Watchdog")["startsAt"]
    restart(stack.alertmanager, stack.start_alertmanager)
    assert watched.wait(90.0, alertname="Watchdog")["startsAt"] == before
    restart(stack.prometheus, stack.start_prometheus)
    updated = watched.wait(alertname="Watchdog")["updatedAt"]
    wait_until("Prometheus tells it again", lambda: watched.wait(alertname="Watchdog")["updatedAt"] > updated, 90)
    assert watched.wait(alertname="Watchdog")["startsAt"] == before


def restart(server: Server, again: Callable[[int], Server]) -> None:
    """Kill it, and start it on the same port."""
    server.kill()
    server.close()
    again(int(server.url.rpartition(":")[2]))
