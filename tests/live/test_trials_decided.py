"""Releases in steps, decided: real scheduler, triggerer and API server, real replica of two workers, real Prometheus.

The guide's DAG, and ``recommendation_pipeline``: a tenth of the requests in shadow, then a tenth of the users; what becomes of
them, Prometheus scrapes every second.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
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
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.kept_evidence import read_evidence
from model_release.identifiers import release_id_for
from model_release.verdict import Decision, Verdict
from scripts.local_stack import API_WORKERS
from scripts.services import Service
from tests import monitoring
from tests.gate_live.faulty_api import FILE_VARIABLE
from tests.gate_live.trial import visitors
from tests.live.documented import BUDGET_MINUTES, DAG, FAULTS, STEPPED
from tests.live.installation import Ended, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RATE = 80.0  # requests per second
DEGRADED = "degraded-not-more"
WATCHED = "judge_canary_10"
Move = tuple[str, str | None, float | str | None]
RELEASED: list[Move] = [
    ("registered", None, None),
    ("gate_decided", "offline", Verdict.PASS.value),
    ("committed", "shadow", 0.1),
    ("trial_started", "shadow", 0.1),
    ("gate_decided", "online", Verdict.PASS.value),
    ("committed", "canary", 0.1),
    ("trial_started", "canary", 0.1),
    ("gate_decided", "online", Verdict.PASS.value),
    ("committed", "primary", None),
    ("released", "primary", None),
    ("verified", None, None),
]
REJECTED: list[Move] = [
    ("gate_decided", "online", Verdict.FAIL.value),
    ("rejected", None, None),
    ("trial_ended", "primary", None),
    ("rolled_back", "primary", None),
]


@pytest.fixture(scope="module")
def measured(on_sale: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The same API, whose models may be told to fail, and the Prometheus that Airflow was told of, which scrapes it."""
    monitoring.need("prometheus")
    port = urlsplit(on_sale.stack.extra["PROMETHEUS_URL"]).port
    target = on_sale.stack.api_url.removeprefix("http://")
    with _models_that_may_fail(on_sale), monitoring.prometheus(tmp_path_factory.mktemp("prom"), [target], port=port):
        _ready(on_sale, DAG)
        _ready(on_sale, STEPPED)
        yield on_sale


def _ready(installation: Installation, dag_id: str) -> None:
    installation.wait_until("Airflow knows the DAG", lambda: installation.rest.get(f"/dags/{dag_id}").is_success)
    installation.unpause(dag_id)


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
    """A good candidate; the gate of its canary waits for requests, the triggerer dies, another one takes over, they come."""
    dag_run_id = measured.trigger(DAG, {"as_of": "2026-02-20", "fail_share": 0.0})
    task = f"/dags/{DAG}/dagRuns/{dag_run_id}/taskInstances/{WATCHED}"
    release_id = release_id_for(DAG, dag_run_id)
    target = measured.stack.api_url.removeprefix("http://")
    with visitors(target, RATE):
        measured.wait_until("the shadow passed", lambda: _on_canary(measured))

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
    with visitors(target, RATE):
        ended = measured.ended(DAG, dag_run_id)
    return Watched(ended, before, after, known, again)


def _on_canary(installation: Installation) -> bool:
    candidate = FileRegistry(installation.paths).read().candidate
    return candidate is not None and candidate.mode == "canary"


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
    assert healthy.ended.tasks[WATCHED] == "success", healthy.ended.tasks


def test_a_good_candidate_goes_step_by_step_and_becomes_current(measured: Installation, healthy: Watched) -> None:
    """Everywhere; the ledger has each move in its order, decisions are kept, and the message has the last trial's table."""
    ended, run_id = healthy.ended, healthy.ended.result("train")
    assert ended.state == "success", ended.tasks
    assert set(ended.tasks.values()) == {"success"}
    _everywhere(measured, run_id)
    assert _moves(ended) == RELEASED

    _kept(ended, "offline", Verdict.PASS)
    decision = _kept(ended, "online", Verdict.PASS)
    message = measured.told(ended)
    assert message.startswith("**✅")
    assert run_id in message.splitlines()[0]
    results = len(decision.results)
    assert "**Gate, online: PASS**" in message
    assert f"{results} of {results} results passed" in message
    assert {result.check for result in decision.results} >= {DEGRADED, "split-as-asked"}


def test_the_pipeline_goes_step_by_step(measured: Installation) -> None:
    """``recommendation_pipeline`` with steps: the same moves, a generation each, and as many as were asked for."""
    generation = measured.generation
    with visitors(measured.stack.api_url.removeprefix("http://"), RATE):
        ended = measured.run(STEPPED, as_of="2026-02-21")
    assert ended.state == "success", ended.tasks
    assert set(ended.tasks.values()) == {"success"}
    _everywhere(measured, ended.result("train")["run_id"])
    assert _moves(ended) == RELEASED
    commits = [entry for entry in ended.entries if entry.event == "committed"]
    assert [entry.generation for entry in commits] == [generation + 1, generation + 2, generation + 3]


def test_a_bad_candidate_is_stopped_at_the_second_step_and_withdrawn(measured: Installation) -> None:
    """Half of its answers fail, which only users see: rejected long before the budget is spent, everybody on the old run."""
    current, generation = measured.current, measured.generation
    with visitors(measured.stack.api_url.removeprefix("http://"), RATE):
        dag_run_id = measured.trigger(STEPPED, {"as_of": "2026-02-22"})
        _make_it_fail(measured, dag_run_id)
        ended = measured.ended(STEPPED, dag_run_id)
    assert ended.state == "failed", ended.tasks
    states = {name: ended.tasks[name] for name in ("judge_shadow_10", "canary_10", WATCHED, "model_reload", "verify")}
    assert list(states.values()) == ["success", "success", "failed", "upstream_failed", "upstream_failed"]
    assert ended.tasks["close_release"] == "success"
    run_id = ended.result("train")["run_id"]

    assert current != run_id
    _everywhere(measured, current)
    assert measured.generation == generation + 3  # shadow, canary, taken off
    assert _moves(ended) == [*RELEASED[: RELEASED.index(("committed", "primary", None)) - 1], *REJECTED]
    started, rejected = (
        next(entry for entry in reversed(ended.entries) if entry.event == event)
        for event in ("trial_started", "rejected")
    )
    assert rejected.at - started.at < dt.timedelta(minutes=BUDGET_MINUTES / 4)

    decision = _kept(ended, "online", Verdict.FAIL)
    assert [one.check for one in decision.results if one.verdict is Verdict.FAIL] == [DEGRADED], decision.summary
    message = measured.told(ended)
    assert message.startswith(f"**⛔ Rejected on trial: {run_id}")
    assert "**Gate, online: FAIL**" in message
    assert DEGRADED in message


def _make_it_fail(installation: Installation, dag_run_id: str) -> None:
    """Let half of the answers of the run that a release trains raise, from before any replica loads it."""
    url = f"/dags/{STEPPED}/dagRuns/{dag_run_id}/taskInstances/train"

    def trained() -> bool:
        return bool(installation.rest.get(url).raise_for_status().json()["state"] == "success")

    installation.wait_until("it is trained", trained)
    value = installation.rest.get(f"{url}/xcomEntries/return_value").raise_for_status().json()["value"]
    run_id = (json.loads(value) if isinstance(value, str) else value)["run_id"]
    assert FileRegistry(installation.paths).read().registered(run_id) is None, "too late: it may have been loaded"
    (installation.stack.home / FAULTS).write_text(json.dumps({run_id: {"fail_share": 0.5}}), encoding="utf-8")


def _everywhere(installation: Installation, run_id: str | None) -> None:
    """Registry, every worker and every answer agree on one run, and nothing is on trial."""
    assert installation.current == run_id
    served = [(worker.current, worker.candidate) for worker in installation.models().workers]
    assert served == [(run_id, None)] * API_WORKERS
    assert {run for run, _ in installation.answers().values()} == {run_id}


def _moves(ended: Ended) -> list[Move]:
    """Return what the ledger says of a release, but for callbacks: event, mode, share; of a decision stage and verdict."""
    said: list[Move] = []
    for entry in ended.entries:
        match entry.event.value:
            case "gate_decided":
                said.append(("gate_decided", entry.details["stage"], entry.details["verdict"]))
            case "notified" | "failed":
                pass
            case event:
                said.append((event, entry.mode, entry.rollout))
    return said


def _kept(ended: Ended, stage: Any, verdict: Verdict) -> Decision:
    """Return a kept decision; its evidence and the release's picture are kept too."""
    paths = ended.installation.paths
    decision = read_decision(paths, ended.release_id, stage)
    assert decision is not None
    assert (decision.stage, decision.verdict) == (stage, verdict), decision.summary
    assert read_evidence(paths, ended.release_id, stage) is not None
    assert "<svg" in picture_path(paths, ended.release_id).read_text(encoding="utf-8")
    return decision
