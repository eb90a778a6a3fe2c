"""The stack is production's configuration with other addresses, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from scripts.monitoring_programs import start, start_tool, tool
from scripts.monitoring_stack import MonitoringStack, render_prometheus
from scripts.services import StackError
from tests import monitoring
from tests.alerts.airflow_metrics import count
from tests.alerts.rules import PROMETHEUS, read, run
from tests.api.replica import PROJECT, wait_until
from tests.api.workers import gone

ANSWERS = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


def test_only_addresses_differ_from_production(tmp_path: Path) -> None:
    """Jobs, labels, intervals and rules are those that the unit tests of the rules know."""
    monitoring.need("promtool")
    given, rendered = (
        read(PROMETHEUS / "prometheus.yml"),
        render_prometheus(tmp_path, "127.0.0.1:7", "http://127.0.0.1:8"),
    )
    assert rendered["global"] == given["global"]
    assert [job["job_name"] for job in rendered["scrape_configs"]] == [
        job["job_name"] for job in given["scrape_configs"]
    ]
    for before, after in zip(given["scrape_configs"], rendered["scrape_configs"], strict=True):
        found = {"dns_sd_configs", "static_configs", "file_sd_configs"}
        if after["job_name"] != "airflow":
            assert {key: value for key, value in before.items() if key not in found} == {
                key: value for key, value in after.items() if key not in found
            }
            assert after["file_sd_configs"][0]["files"] == [str(tmp_path / f"{after['job_name']}.json")]
            continue
        assert [group["labels"] for group in after["static_configs"]] == [
            group["labels"] for group in before["static_configs"]
        ]
        assert {one for group in after["static_configs"] for one in group["targets"]} == {
            "http://127.0.0.1:8/api/v2/monitor/health"
        }
        assert after["relabel_configs"][-1]["replacement"] == "127.0.0.1:7"
    assert "dns_sd_configs" not in str(rendered)
    import yaml

    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(rendered))
    run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_what_does_not_start_says_so_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"(?s)broken did not start.*no such option"):
        start("broken", lambda _: [sys.executable, "-c", "raise SystemExit('no such option')"], tmp_path / "log")


def test_a_program_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no-such-program not found: bash scripts/debian_tools\.sh"):
        start_tool("no-such-program", [], tmp_path / "log")


def test_a_stack_that_fails_half_way_ends_what_had_come_up(tmp_path: Path) -> None:
    """The bridge runs already when Alertmanager finds its port taken."""
    monitoring.need("alertmanager")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "health").touch()

    def bridge(port: int) -> list[str]:
        return [*ANSWERS, "--directory", str(tmp_path / "web"), str(port)]

    with start("taken", bridge, tmp_path / "taken.log", ready="/health") as taken:
        stack = MonitoringStack(
            tmp_path / "home",
            [],
            tmp_path / "evaluation",
            bridge=bridge,
            ports={"alertmanager": int(taken.url.rpartition(":")[2])},
        )
        with pytest.raises(StackError, match="alertmanager did not start"):
            stack.start()
        assert stack.servers == {}
        assert oct(stack.token_file.stat().st_mode & 0o777) == "0o600"
        assert stack.token not in repr(stack)


@pytest.mark.slow
def test_the_command_starts_everything_says_where_and_ends_it(tmp_path: Path) -> None:
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    command = [sys.executable, "-m", "scripts.monitoring_stack", "--home", str(tmp_path), "--replica", "127.0.0.1:1"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout is not None
        said = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        address = {line.split(" ")[1].split("=")[0]: line.strip().split("=", 1)[1] for line in said[:2]}

        def jobs() -> set[str]:
            targets = httpx.get(f"{address['PROMETHEUS_URL']}/api/v1/targets", trust_env=False)
            return {one["labels"]["job"] for one in targets.json()["data"]["activeTargets"]}

        expected = {"recommendation-api", "node", "alertmanager", "airflow", "prometheus"}
        wait_until("all targets are known", lambda: expected <= jobs(), 30)
        assert httpx.get(f"{address['ALERTMANAGER_URL']}/-/ready", trust_env=False).is_success
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert gone(process.pid)
    for url in address.values():
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False)


@pytest.mark.slow
def test_what_processes_of_airflow_count_is_added_up_and_scraped(tmp_path: Path) -> None:
    """By Airflow's own client, the real collectd and the real Prometheus; each process counts from 0."""
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    if tool("collectd") is None:
        pytest.skip("collectd not found: this system has no package of it that runs")
    with MonitoringStack(tmp_path / "home", [], tmp_path / "evaluation") as stack:
        for _ in range(2):
            count(stack.addresses, "scheduler_heartbeat")
        query = 'collectd_statsd_derive_total{job="airflow-metrics",statsd="airflow.scheduler_heartbeat"}'
        wait_until("both are counted", lambda: monitoring.value(stack.prometheus, query) == 2.0, 40)
        stack.servers["collectd"].kill()
        wait_until("its end is seen", lambda: monitoring.value(stack.prometheus, query) is None, 40)
        assert monitoring.value(stack.prometheus, 'up{job="airflow-metrics"}') == 0.0


def test_without_collectd_airflow_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out, and the rest works."""
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    monkeypatch.setattr("scripts.monitoring_stack.tool", lambda _: None)
    with MonitoringStack(tmp_path / "home", [], tmp_path / "evaluation") as stack:
        assert set(stack.addresses) == {"PROMETHEUS_URL", "ALERTMANAGER_URL"}
        query = 'count(up{job="alertmanager"})'
        wait_until("others are scraped", lambda: monitoring.value(stack.prometheus, query) == 1.0, 30)


def test_targets_may_come_later(tmp_path: Path) -> None:
    """A replica that is started later is found, as with DNS."""
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    with MonitoringStack(tmp_path / "home", [], tmp_path / "evaluation") as stack:
        query = 'count(up{job="recommendation-api"})'
        assert monitoring.value(stack.prometheus, query) is None
        stack.set_targets("recommendation-api", ["127.0.0.1:1", "127.0.0.1:2"])
        wait_until("both are known", lambda: monitoring.value(stack.prometheus, query) == 2.0, 30)
