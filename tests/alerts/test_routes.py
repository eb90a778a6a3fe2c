"""Who is told of what; what is not said twice, by a real Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.monitoring_programs import Server, start_tool
from scripts.monitoring_stack import render_alertmanager
from tests import monitoring
from tests.alerts.rules import MONITORING, alerts, read, run
from tests.api.replica import wait_until

CONFIG = MONITORING / "alertmanager" / "alertmanager.yml"
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
RUN = {"run_id": "run-b", "slot": "candidate"}
BAD = {"alertname": "RecommendationErrors", **CRITICAL, **RUN}


@pytest.fixture(autouse=True)
def _tools() -> None:
    monitoring.need("amtool", "alertmanager")


def test_alertmanager_accepts_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", CONFIG).stdout


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        *[
            ({"alertname": rule["alert"], **rule["labels"]}, "alert-bridge")
            for rule in alerts()
            if rule["alert"] != "Watchdog"
        ],
        ({"alertname": "Watchdog", "severity": "none"}, "watchdog"),
        ({"alertname": "SomethingElse", "severity": "none"}, "nobody"),
        ({"alertname": "OfAnotherTeam", "severity": "critical"}, "alert-bridge"),
        ({"alertname": "WithoutSeverity"}, "alert-bridge"),
    ],
    ids=lambda value: value.get("alertname") if isinstance(value, dict) else value,
)
def test_every_alert_has_its_receiver(labels: dict[str, str], receiver: str) -> None:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    run("amtool", "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *pairs)


def test_critical_alerts_are_told_at_once_and_ends_are_told_too() -> None:
    config = read(CONFIG)
    (critical,) = [route for route in config["route"]["routes"] if route["matchers"] == ['severity="critical"']]
    assert critical["group_wait"] == "0s"
    (bridge,) = [one for one in config["receivers"] if one["name"] == "alert-bridge"]
    (webhook,) = bridge["webhook_configs"]
    assert webhook["send_resolved"] is True
    assert webhook["max_alerts"] == 0
    assert set(webhook["http_config"]["authorization"]) == {"type", "credentials_file"}, "no token in the file"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    monitoring.need("alertmanager")
    folder = tmp_path_factory.mktemp("routes")
    (folder / "token").write_text("x")
    config = folder / "alertmanager.yml"
    import yaml

    config.write_text(yaml.safe_dump(render_alertmanager("http://127.0.0.1:1/", folder / "token")))
    arguments = [f"--config.file={config}", f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
    with start_tool("alertmanager", arguments, folder / "log") as server:
        yield server


@pytest.mark.parametrize(
    ("source", "target", "inhibited"),
    [
        (BAD, {"alertname": "RecommendationDegraded", **CRITICAL, **RUN}, True),
        (BAD, {"alertname": "RecommendationDegraded", **CRITICAL, "run_id": "run-c", "slot": "current"}, False),
        (BAD, {"alertname": "RecommendationSlow", **CRITICAL, **RUN}, False),
        (BAD, {"alertname": "CandidatePastLease", **WARNING, **RUN}, True),
        (BAD, {"alertname": "CandidatePastLease", **WARNING, "run_id": "run-d"}, False),
        (BAD, {"alertname": "DataQualityLow", **WARNING, "table": "items"}, False),
        ({"alertname": "RequestsRefused", **CRITICAL}, {"alertname": "ReleaseStuck", **WARNING}, False),
        ({"alertname": "ReplicaDown", **CRITICAL}, {"alertname": "ReplicaDown", **WARNING, "instance": "r1"}, True),
        ({"alertname": "ReplicaDown", **CRITICAL}, {"alertname": "ReplicasDisagree", **WARNING}, True),
        (
            {"alertname": "ReplicaDown", **WARNING, "instance": "r2"},
            {"alertname": "WorkersMissing", **WARNING, "instance": "r2"},
            True,
        ),
        (
            {"alertname": "ReplicaDown", **WARNING, "instance": "r2"},
            {"alertname": "WorkersMissing", **WARNING, "instance": "r3"},
            False,
        ),
        (
            {"alertname": "DataQualityUnreadable", **WARNING},
            {"alertname": "DataQualityLow", **WARNING, "table": "users"},
            True,
        ),
        (
            {"alertname": "MessagesNotDelivered", **CRITICAL, "component": "bridge"},
            {"alertname": "ReleaseStateUnreadable", **CRITICAL},
            True,
        ),
        (
            {"alertname": "MessagesNotDelivered", **CRITICAL, "component": "bridge"},
            {"alertname": "ReleaseStateUnreadable", **CRITICAL, "instance": "r4"},
            False,
        ),
        (
            {"alertname": "AirflowDown", **CRITICAL, "component": "metadatabase"},
            {"alertname": "AirflowDown", **CRITICAL, "component": "triggerer"},
            True,
        ),
        (
            {"alertname": "AirflowDown", **CRITICAL, "component": "triggerer"},
            {"alertname": "AirflowDown", **CRITICAL, "component": "scheduler"},
            False,
        ),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else str(value),
)
def test_what_is_said_already_is_not_said_twice(
    alertmanager: Server,
    source: dict[str, str],
    target: dict[str, str],
    inhibited: bool,
    request: pytest.FixtureRequest,
) -> None:
    """One test does not see another's alerts: ``test`` names them, and they end with it."""
    try:
        monitoring.fire(alertmanager, **source)
        monitoring.fire(alertmanager, **target)

        def suppressed() -> bool:
            (found,) = [one for one in alertmanager.http.get("/api/v2/alerts").json() if one["labels"] == target]
            return bool(found["status"]["inhibitedBy"])

        wait_until(f"{request.node.name}: inhibited is {inhibited}", lambda: suppressed() is inhibited, 5)
    finally:
        monitoring.end(alertmanager, **source)
        monitoring.end(alertmanager, **target)


def test_paths_in_the_rendered_configuration_are_given(tmp_path: Path) -> None:
    config = render_alertmanager("http://127.0.0.1:9/alertmanager", tmp_path / "token")
    (bridge,) = [one for one in config["receivers"] if one["name"] == "alert-bridge"]
    assert bridge["webhook_configs"][0]["url"] == "http://127.0.0.1:9/alertmanager"
    assert config["inhibit_rules"] == read(CONFIG)["inhibit_rules"]
