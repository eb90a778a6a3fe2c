"""A trial that can't be measured, in a real scheduler and triggerer, with a real API: kept alive, then rejected."""

from __future__ import annotations

import datetime as dt

import pytest

from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.kept_evidence import read_evidence
from model_release.registry import Candidate
from model_release.verdict import Verdict
from tests.live.installation import Installation
from tests.live.trial_dag import LEASE_SECONDS

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG = "with_a_trial"


def test_an_outage_of_prometheus_keeps_the_trial_alive_and_then_ends_it(on_sale: Installation) -> None:
    """No Prometheus: neither promoted nor ended while the budget lasts, which is longer than the lease; then rejected.

    Rejected, the run is taken off trial in every worker, users keep their lists, and people are not told of a success.
    """
    current, lists = on_sale.current, on_sale.lists()
    on_sale.wait_until("Airflow knows the DAG", lambda: on_sale.rest.get(f"/dags/{DAG}").is_success)
    dag_run_id = on_sale.trigger(DAG, {})
    registry = FileRegistry(on_sale.paths)
    seen: dict[dt.datetime | None, Candidate] = {}

    def over() -> bool:
        candidate = registry.read().candidate
        if candidate is not None:
            seen[candidate.lease_until] = candidate
        state = on_sale.rest.get(f"/dags/{DAG}/dagRuns/{dag_run_id}").raise_for_status().json()["state"]
        return state in {"success", "failed"}

    on_sale.wait_until("the release ends", over, 300)
    ended = on_sale.ended(DAG, dag_run_id)
    assert ended.state == "failed", ended.tasks
    assert ended.tasks["verify_trial"] == "success"
    assert ended.tasks["online_gate"] == "failed"
    assert ended.tasks["model_reload"] == "upstream_failed"
    assert ended.tasks["close_release"] == "success"
    after = ended.events[ended.events.index("verified") + 1 :]
    assert after[:3] == ["gate_decided", "rejected", "trial_ended"]

    assert len(seen) >= 3, "the lease was not renewed"
    assert len({(trial.run_id, trial.generation) for trial in seen.values()}) == 1
    started = next(iter(seen.values())).since
    rejected = next(entry for entry in ended.entries if entry.event == "rejected")
    assert rejected.at > started + dt.timedelta(seconds=LEASE_SECONDS), "the trial outlived its first lease"
    assert "ERROR" in rejected.reason
    assert "lease" not in rejected.reason

    decision = ended.decision
    assert decision is not None
    assert (decision.stage, decision.verdict) == ("online", Verdict.ERROR)
    assert read_evidence(on_sale.paths, ended.release_id, "online") is not None
    assert (on_sale.current, on_sale.lists()) == (current, lists)
    assert all(worker.candidate is None for worker in on_sale.models().workers)
