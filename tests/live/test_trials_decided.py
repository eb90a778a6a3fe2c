"""The guide's DAG with a trial, decided: real scheduler, triggerer and API server, real replica of two workers, real Prometheus.

One in ten of the users get the candidate; what they are answered, Prometheus scrapes every second.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from model_release.adapters.decision_picture import picture_path
from model_release.adapters.decisions import read_decision
from model_release.adapters.kept_evidence import read_evidence
from model_release.identifiers import release_id_for
from model_release.verdict import Decision, Verdict
from scripts.local_stack import API_WORKERS
from scripts.services import Service
from tests import monitoring
from tests.gate_live.faulty_api import FILE_VARIABLE
from tests.gate_live.trial import visitors
from tests.live.documented import BUDGET_MINUTES, DAG, FAULTS
from tests.live.installation import Ended, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RATE = 80.0  # requests per second
CHECKS = ("degraded-not-more", "split-as-asked")


@pytest.fixture(scope="module")
def measured(on_sale: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The same API, whose models may be told to fail, and the Prometheus that Airflow was told of, which scrapes it."""
    monitoring.need("prometheus")
    port = urlsplit(on_sale.stack.extra["PROMETHEUS_URL"]).port
    target = on_sale.stack.api_url.removeprefix("http://")
    with _models_that_may_fail(on_sale), monitoring.prometheus(tmp_path_factory.mktemp("prom"), [target], port=port):
        on_sale.wait_until("Airflow knows the DAG", lambda: on_sale.rest.get(f"/dags/{DAG}").is_success)
        yield on_sale


@contextlib.contextmanager
def _models_that_may_fail(installation: Installation) -> Iterator[None]:
    stack, name = installation.stack, "recommendation API"
    stack.services.pop(name).stop()
    command = [sys.executable, "-m", "tests.gate_live.faulty_api", "--host", "127.0.0.1", "--port", str(stack.api_port)]
    faults = {FILE_VARIABLE: str(stack.home / FAULTS), "RECOMMENDATION_API_LATE_SECONDS": "10"}
    log = stack.home / "logs" / "faulty-api.log"
    service = Service(name, [*command, "--workers", str(API_WORKERS)], log, {**stack.environment, **faults})
    stack.services[name] = service
    try:
        service.start()
        stack.wait_for(name, f"{stack.api_url}/health/ready")
        yield
    finally:
        stack.services.pop(name).stop()
        stack.start_api()
        stack.wait_for(name, f"{stack.api_url}/health/ready")


@dataclass(frozen=True)
class Watched:
    """What was seen of a release whose triggerer was killed.

    Attributes:
        ended: the DAG run.
        before: what Airflow said of the gate's trigger before.
        after: the same, once another triggerer had it.
        known: the kept decision when the triggerer was gone.
        resumed: the first one that was kept after that.
    """

    ended: Ended
    before: dict[str, Any]
    after: dict[str, Any]
    known: Decision
    resumed: Decision


@pytest.fixture(scope="module")
def healthy(measured: Installation) -> Watched:
    """A good candidate; its gate waits for requests, the triggerer dies, another one takes over, and requests come."""
    dag_run_id = measured.trigger(DAG, {"as_of": "2026-02-20", "fail_share": 0.0})
    task = f"/dags/{DAG}/dagRuns/{dag_run_id}/taskInstances/online_gate"
    release_id = release_id_for(DAG, dag_run_id)

    def trigger() -> dict[str, Any]:
        found: dict[str, Any] | None = measured.rest.get(task).raise_for_status().json()["trigger"]
        return found or {}

    def kept() -> Decision | None:
        return read_decision(measured.paths, release_id, "online")

    def measures() -> bool:
        decision = kept()
        return decision is not None and decision.measured_at is not None and trigger().get("triggerer_id") is not None

    measured.wait_until("a triggerer watches the trial", measures)
    before = trigger()
    _kill_triggerer(measured)
    known = kept()
    assert known is not None
    _start_triggerer(measured)

    def resumed() -> bool:
        decision = kept()
        return decision is not None and decision.decided_at > known.decided_at

    measured.wait_until("another triggerer looks", resumed)
    after, again = trigger(), kept()
    assert again is not None
    with visitors(measured.stack.api_url.removeprefix("http://"), RATE):
        ended = measured.ended(DAG, dag_run_id)
    return Watched(ended, before, after, known, again)


def _kill_triggerer(installation: Installation) -> None:
    """Kill the triggerer that the stack started, and what it started itself."""
    airflow = installation.stack.services["airflow"].process
    assert airflow is not None
    pids = _triggerer_of(airflow.pid)
    assert pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    installation.wait_until("it is gone", lambda: not _triggerer_of(airflow.pid), 10)


def _triggerer_of(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(entry.name)) == group and b"\0triggerer\0" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _start_triggerer(installation: Installation) -> None:
    """Start another one, which ends with the stack."""
    stack = installation.stack
    command = [str(Path(sys.executable).parent / "airflow"), "triggerer"]
    service = Service("triggerer", command, stack.home / "logs" / "triggerer.log", stack.environment)
    stack.services["triggerer"] = service
    service.start()


def test_a_killed_triggerer_loses_nothing(healthy: Watched) -> None:
    """The same trigger, with the same start, goes on elsewhere; the evidence is measured on, and then it is decided."""
    assert healthy.after["id"] == healthy.before["id"]
    assert healthy.after["created_date"] == healthy.before["created_date"]
    assert healthy.after["triggerer_id"] != healthy.before["triggerer_id"]
    assert healthy.known.verdict is healthy.resumed.verdict is Verdict.INCONCLUSIVE, healthy.resumed.summary
    assert healthy.known.measured_at is not None
    assert healthy.resumed.measured_at is not None
    assert healthy.resumed.measured_at > healthy.known.measured_at
    assert healthy.ended.tasks["online_gate"] == "success", healthy.ended.tasks


def test_a_good_candidate_passes_and_becomes_current(measured: Installation, healthy: Watched) -> None:
    """Everywhere; both decisions are written down and kept with their evidence, and the message has the trial's table."""
    ended = healthy.ended
    assert ended.state == "success", ended.tasks
    assert set(ended.tasks.values()) == {"success"}
    run_id = ended.result("train")
    assert measured.current == run_id
    served = [(worker.current, worker.candidate) for worker in measured.models().workers]
    assert served == [(run_id, None)] * API_WORKERS
    assert {run for run, _ in measured.answers().values()} == {run_id}

    events = [event for event in ended.events if event in {"gate_decided", "trial_started", "rejected", "released"}]
    assert events == ["gate_decided", "trial_started", "gate_decided", "released"]
    _kept(ended, "offline", Verdict.PASS)
    decision = _kept(ended, "online", Verdict.PASS)
    message = measured.told(ended)
    assert message.startswith("**✅")
    assert run_id in message.splitlines()[0]
    results = len(decision.results)
    assert "**Gate, online: PASS**" in message
    assert f"{results} of {results} results passed" in message
    assert {result.check for result in decision.results} >= set(CHECKS)


def test_a_bad_candidate_is_stopped_early_and_withdrawn(measured: Installation, healthy: Watched) -> None:
    """Half of its answers fail: rejected long before the budget is spent, gone from every worker, told once."""
    current, generation = measured.current, measured.generation
    assert current == healthy.ended.result("train")
    with visitors(measured.stack.api_url.removeprefix("http://"), RATE):
        ended = measured.run(DAG, as_of="2026-02-21", fail_share=0.5)
    assert ended.state == "failed", ended.tasks
    assert (ended.tasks["online_gate"], ended.tasks["model_reload"]) == ("failed", "upstream_failed")
    assert ended.tasks["close_release"] == "success"
    run_id = ended.result("train")

    assert measured.current == current != run_id
    assert measured.generation == generation + 2  # on trial, taken off
    served = [(worker.current, worker.candidate) for worker in measured.models().workers]
    assert served == [(current, None)] * API_WORKERS
    started, rejected, withdrawn = (
        next(entry for entry in ended.entries if entry.event == event)
        for event in ("trial_started", "rejected", "trial_ended")
    )
    assert started.at < rejected.at < withdrawn.at
    assert rejected.at - started.at < dt.timedelta(minutes=BUDGET_MINUTES / 4)

    decision = _kept(ended, "online", Verdict.FAIL)
    assert [one.check for one in decision.results if one.verdict is Verdict.FAIL] == [CHECKS[0]], decision.summary
    message = measured.told(ended)
    assert message.startswith(f"**⛔ Rejected on trial: {run_id}")
    assert "**Gate, online: FAIL**" in message
    assert CHECKS[0] in message


def _kept(ended: Ended, stage: Any, verdict: Verdict) -> Decision:
    """Return a kept decision; its evidence and the release's picture are kept too."""
    paths = ended.installation.paths
    decision = read_decision(paths, ended.release_id, stage)
    assert decision is not None
    assert (decision.stage, decision.verdict) == (stage, verdict), decision.summary
    assert read_evidence(paths, ended.release_id, stage) is not None
    assert "<svg" in picture_path(paths, ended.release_id).read_text(encoding="utf-8")
    return decision
