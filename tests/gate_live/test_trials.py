"""The gate against a real Prometheus, a real Alertmanager and a real replica under load; benchmarks/gate_detection.py repeats it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_release.verdict import Verdict
from tests import monitoring
from tests.api.replica import wait_until
from tests.api.workers import stopped
from tests.gate_live.faulty_api import Fault
from tests.gate_live.trial import CANDIDATE, FAILING, HEALTHY, SLOW, LiveTrial, policy, trial

WITHIN_SECONDS = 60.0


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    monitoring.need("prometheus", "alertmanager", "amtool")


@pytest.fixture(scope="module")
def healthy(_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveTrial]:
    """A candidate that is as good as the current run."""
    with trial(tmp_path_factory.mktemp("healthy"), HEALTHY) as begun:
        yield begun


@pytest.mark.parametrize(
    ("fault", "check"),
    [pytest.param(FAILING, "degraded-not-more", id="fails"), pytest.param(SLOW, "not-slower", id="slow")],
)
def test_a_bad_candidate_is_rejected_within_a_minute(tmp_path: Path, fault: Fault, check: str) -> None:
    """One answer in twenty fails, or each takes twice as long; the check that looks at that says so, and no other."""
    asked = policy()
    with trial(tmp_path, fault) as begun:
        assert begun.wait(asked, WITHIN_SECONDS) == "reject", begun.said()
        verdicts = begun.verdicts()
    assert [name for name, verdict in verdicts.items() if verdict == "FAIL"] == [check], begun.said()
    assert begun.decisions[-1].verdict is Verdict.FAIL
    assert "ERROR" not in verdicts.values(), begun.said()


def test_a_healthy_candidate_passes(healthy: LiveTrial) -> None:
    """Every check has enough to say so, and none was ERROR or FAIL on the way."""
    asked = policy()
    assert healthy.wait(asked, 150.0) == "release", healthy.said()
    assert set(healthy.verdicts().values()) == {"PASS"}
    assert {one.verdict for one in healthy.decisions} <= {Verdict.INCONCLUSIVE, Verdict.PASS}


def test_a_firing_alert_rejects_and_a_silence_counts_as_the_policy_says(healthy: LiveTrial, tmp_path: Path) -> None:
    """An alert of another service, or one that is not critical, is no matter."""
    count, ignore = policy(silenced="count"), policy(silenced="ignore")
    with monitoring.alertmanager(tmp_path) as server:
        watched = replace(healthy, alertmanager_url=server.url, decisions=[])

        def verdict(silenced: str) -> str:
            watched.look(count if silenced == "count" else ignore)
            return watched.verdicts()["no-alert"]

        monitoring.fire(server, alertname="Slow", severity="critical", service="another")
        monitoring.fire(server, alertname="Busy", severity="warning", service="recommendation-api")
        assert (verdict("count"), verdict("ignore")) == ("PASS", "PASS"), watched.said()
        monitoring.fire(server, alertname="Errors", severity="critical", service="recommendation-api")
        assert (verdict("count"), verdict("ignore")) == ("FAIL", "FAIL"), watched.said()
        assert watched.look(count) == "reject"
        monitoring.silence(server, alertname="Errors")
        assert (verdict("count"), verdict("ignore")) == ("FAIL", "PASS"), watched.said()
    assert (verdict("count"), verdict("ignore")) == ("ERROR", "ERROR"), (
        "an Alertmanager that is gone is not a quiet one"
    )


def test_losing_prometheus_never_promotes_and_rejects_only_after_the_budget(tmp_path: Path) -> None:
    """While it hangs nothing is decided, when it is back all goes on, and when it is killed the wait has an end."""
    budget_seconds = 12.0
    asked = policy(error_minutes=budget_seconds / 60.0)
    with trial(tmp_path, HEALTHY) as begun:
        begun.wait(asked, 5.0)
        before, prometheus = begun.home.registry.read(), begun.prometheus.process
        with stopped([prometheus.pid]):
            assert [begun.look(asked) for _ in range(2)] == ["wait", "wait"], begun.said()
            assert {one.verdict for one in begun.decisions[-2:]} == {Verdict.ERROR}
        wait_until("it measures again", lambda: begun.look(asked) != "reject" and not begun.blind)
        measured = begun.decisions[-1]
        begun.prometheus.kill()
        assert begun.wait(asked, 120.0) == "reject", begun.said()
        blind = [one for one in begun.decisions if one.decided_at > measured.decided_at]
        ages = [(one.decided_at - measured.decided_at).total_seconds() for one in blind]
        assert {one.verdict for one in blind} == {Verdict.ERROR}
        assert ages[0] < budget_seconds <= ages[-1] <= budget_seconds + 10.0
        assert all(age < budget_seconds for age in ages[:-1])
        assert begun.home.registry.read() == before
        assert before.candidate is not None
        assert before.candidate.run_id == CANDIDATE
