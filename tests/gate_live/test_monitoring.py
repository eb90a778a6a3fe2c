"""The real Prometheus and Alertmanager that other tests rely on: they start, they see a replica, they leave nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import monitoring
from tests.api.home import Home
from tests.api.replica import PROJECT, Replica, wait_until
from tests.api.workers import gone

WORKERS = {"RECOMMENDATION_API_WORKERS": "2"}


@pytest.fixture(autouse=True)
def _tools() -> None:
    monitoring.need("prometheus", "alertmanager", "amtool")


def test_prometheus_counts_what_a_replica_answers(tmp_path: Path) -> None:
    """Series of both arms are there before the first answer, so that no first one is lost; then it is gone without a trace."""
    replica = Replica(Home(tmp_path / "home"), settings=WORKERS)
    try:
        target = replica.start_ready().url.removeprefix("http://")
        with monitoring.prometheus(tmp_path / "prometheus", [target]) as server:
            for arm in ("current", "candidate"):
                query = f'recommendation_answers_total{{endpoint="recommend",variant="{arm}"}}'
                assert monitoring.value(server, query) == 0.0
            replica.reload(run_id="run-b", mode="canary", rollout=1.0)
            for _ in range(7):
                replica.recommend("u1")
            wait_until("it has scraped them", lambda: monitoring.value(server, query) == 7.0)
            assert monitoring.value(server, 'recommendation_trial_users{variant="candidate"}') == 1.0
            assert monitoring.value(server, 'sum(recommendation_latency_seconds_count{variant="candidate"})') == 7.0
        assert gone(server.process.pid)
    finally:
        replica.close()


def test_alertmanager_knows_firing_and_silenced_alerts(tmp_path: Path) -> None:
    with monitoring.alertmanager(tmp_path) as server:
        monitoring.fire(server, alertname="HighErrors", severity="critical")
        monitoring.silence(server, alertname="HighErrors")
        (alert,) = server.http.get("/api/v2/alerts").json()
        assert alert["status"]["state"] == "suppressed"
    assert gone(server.process.pid)


class _FailedError(Exception):
    """Stands for whatever a test may raise."""


def test_nothing_is_left_behind_when_a_test_fails(tmp_path: Path) -> None:
    def fail() -> None:
        raise _FailedError

    with pytest.raises(_FailedError), monitoring.alertmanager(tmp_path) as server:
        fail()
    assert gone(server.process.pid)


def test_without_a_way_to_get_the_programs_there_is_a_reason(tmp_path: Path) -> None:
    """The script changes nothing then; a test is skipped here and fails in CI."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in (
        "bash",
        "chmod",
        "dirname",
        "grep",
        "ln",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "sed",
        "sort",
        "tail",
        "touch",
    ):
        found = shutil.which(name)
        assert found
        (bare / name).symlink_to(found)
    script = tmp_path / "scripts" / "debian_tools.sh"
    script.parent.mkdir()
    script.write_bytes((PROJECT / "scripts" / "debian_tools.sh").read_bytes())
    done = subprocess.run(
        ["bash", str(script)], env={"PATH": str(bare)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "not installed: " in done.stderr
    assert "prometheus-alertmanager" in done.stderr
    assert "no apt-get with dpkg-deb" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "scripts"]


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_program_skips_here_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"no-such-program not found: bash scripts/debian_tools\.sh"):
        monitoring.need("no-such-program")
    assert os.environ["CI"] == ci
