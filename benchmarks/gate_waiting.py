"""A thousand gates that wait on one triggerer: ``python -m benchmarks.gate_waiting``.

A real Airflow; the gates are task instances of a real DAG, deferred in its database as a worker's deferral is (a worker
needs about a second for each, which is not what is measured).  A probe in the triggerer's event loop tells how late it is.
Alertmanager and the replica are fakes on loopback that count.  Poke-mode sensors that make the same look: eight of them
run, the rest is extrapolation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from model_release.adapters.evidence_files import fingerprint
from model_release.paths import ReleasePaths
from model_release.registry import Registry
from model_release_airflow.triggers.fleet import Commit, desired_text
from scripts.local_stack import LocalStack
from scripts.services import PROJECT
from tests.fakes_monitoring import FakeAlertmanager, fake_alertmanager

POLL_SECONDS, POKES = 5.0, 8
POLICY = """
schema_version: 1
name: waiting
checks:
  - {name: quiet, kind: alerts, matchers: [{severity: critical}]}
"""
DAGS = """
import time
from airflow.sdk import DAG, BaseSensorOperator
from model_release.adapters.evidence_files import fingerprint
from model_release.paths import ReleasePaths
from model_release_airflow.sensors.quality_gate import QualityGateSensor


class Poke(BaseSensorOperator):
    def poke(self, context):
        return fingerprint(ReleasePaths.from_environment(), "run") == "never"


for dag_id, count in (("probe", 1), ("gates", COUNT), ("fleets", COUNT)):
    with DAG(dag_id, schedule=None):
        runs = [f"run-{number}" for number in range(count)]
        QualityGateSensor.partial(task_id="gate").expand(run_id=runs)
with DAG("pokes", schedule=None, is_paused_upon_creation=False, max_active_tasks=64):
    for number in range(POKES):
        Poke(task_id=f"poke_{number}", poke_interval=5.0, mode="poke")
"""


class Waiting:
    """One stack, its fakes, and what the probe wrote."""

    def __init__(self, stack: LocalStack, rest: httpx.Client, alerts: FakeAlertmanager) -> None:
        self.stack, self.rest, self.alerts = stack, rest, alerts
        self.probe = stack.home / "probe.jsonl"

    def defer(self, dag_id: str, classpath: str, kwargs: list[dict[str, Any]]) -> None:
        """Start a run of a paused DAG and defer all its tasks."""
        self.rest.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None}).raise_for_status()
        file = self.stack.home / "kwargs.json"
        file.write_text(json.dumps(kwargs))
        command = [sys.executable, "-m", "benchmarks.waiting_probe", dag_id, classpath, str(file)]
        subprocess.run(command, env=self.stack.environment, cwd=PROJECT, check=True, capture_output=True)

    def lines(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Return what the probe saw since a Unix time."""
        if not self.probe.exists():
            return []
        found = [json.loads(line) for line in self.probe.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in found if line["at"] >= since]

    def until(self, tasks: int, seconds: float = 300.0) -> None:
        """Wait until the event loop has at least ``tasks``."""
        deadline = time.monotonic() + seconds
        while not (lines := self.lines(time.time() - 3)) or lines[-1]["tasks"] < tasks:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"not in {seconds:g} s: {tasks} triggers; {lines[-1:]}\n{self.stack.services['airflow'].tail()}"
                )
            time.sleep(0.5)

    def report(self, what: str, seconds: float) -> float:
        """Watch for a while; print what was seen, and return the triggerer's memory, MiB."""
        time.sleep(POLL_SECONDS)
        asked, busy, began = len(self.alerts.asked), self.busy(), time.time()
        time.sleep(seconds)
        lines, asked = self.lines(began), len(self.alerts.asked) - asked
        spent = lines[-1]["at"] - lines[0]["at"]
        late = np.array([line["late"] for line in lines]) * 1000
        rate = {name: (lines[-1][name] - lines[0][name]) / spent for name in ("asked", "made", "cpu")}
        p50, p99 = np.quantile(late, [0.5, 0.99])
        print(
            f"{what}: {lines[-1]['tasks']} tasks in the loop, {max(busy, self.busy())} busy worker processes; "
            f"late p50 {p50:.1f} p99 {p99:.1f} max {late.max():.0f} ms; {rate['asked']:.1f} looks/s, {rate['made']:.1f} "
            f"made, {asked / spent:.2f} requests/s to Alertmanager; {rate['cpu']:.2f} cores; "
            f"runner {lines[-1]['mib']:.1f} MiB, supervisor {lines[-1]['supervisor_mib']:.1f} MiB",
            flush=True,
        )
        return float(lines[-1]["mib"] + lines[-1]["supervisor_mib"])

    def busy(self) -> int:
        """Return how many task instances hold a worker slot."""
        count = 0
        for state in ("queued", "running"):
            answer = self.rest.get("/dags/~/dagRuns/~/taskInstances", params={"state": state, "limit": 1})
            count += int(answer.raise_for_status().json()["total_entries"])
        return count

    def memory(self) -> float:
        """Return the proportional memory of all processes of Airflow, MiB."""
        process = self.stack.services["airflow"].process
        if process is None:
            raise RuntimeError("Airflow does not run")
        total = 0
        for entry in Path("/proc").iterdir():
            try:
                if (
                    entry.name.isdigit()
                    and int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == process.pid
                ):
                    rollup = (entry / "smaps_rollup").read_text().splitlines()
                    total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            except OSError:
                continue
        return total / 1024


def measure(waiting: Waiting, count: int, seconds: float) -> None:
    """Watch the triggerer with nothing, with gates, and with gates and reloads."""
    waiting.defer("probe", "benchmarks.waiting_probe.ProbeTrigger", [{"file": str(waiting.probe)}])
    waiting.until(1)
    nothing = waiting.report("no gate", seconds)
    end = time.time() + 3600
    same: dict[str, Any] = {"release_id": "r", "policy": None, "alerts": ["pass"], "started_at": 0.0}
    gates = [
        {
            **same,
            "run_id": f"run-{number}",
            "known": fingerprint(ReleasePaths(waiting.stack.home), "run"),
            "poll_seconds": POLL_SECONDS,
            "deadline": end,
        }
        for number in range(count)
    ]
    waiting.defer("gates", "model_release_airflow.triggers.evidence.EvidenceTrigger", gates)
    waiting.until(count)
    full = waiting.report(f"{count} gates", seconds)
    print(f"memory per gate: {1024 * (full - nothing) / count:.1f} KiB, triggerer's runner and supervisor", flush=True)
    desired = desired_text(Registry())
    commit = Commit(generation=0, changed=True, previous_run_id=None)
    fleets = [
        {"conn_id": "recommendation_api", "desired": desired, "commit": commit, "agreeing_reads": 10**6}
        | {"poll_seconds": POLL_SECONDS, "deadline": end}
        for _ in range(count)
    ]
    waiting.defer("fleets", "model_release_airflow.triggers.fleet.FleetAgreesTrigger", fleets)
    waiting.until(2 * count)
    waiting.report(f"{count} gates and {count} reloads", seconds)
    blocked = waiting.stack.services["airflow"].log.read_text(errors="replace").count("async thread was blocked")
    print(f"Airflow's own warnings of a blocked loop, from the start: {blocked}", flush=True)


def poke(waiting: Waiting, count: int) -> None:
    """Watch sensors that hold a worker process each."""
    before = waiting.memory()
    waiting.rest.post("/dags/pokes/dagRuns", json={"logical_date": None}).raise_for_status()
    deadline = time.monotonic() + 180
    while (busy := waiting.busy()) < POKES and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(20)
    each = (waiting.memory() - before) / max(busy, 1)
    print(f"{busy} poke-mode sensors: {busy} worker slots, {each:.1f} MiB each (proportional set size)")
    print(f"extrapolated, not measured: {count} of them hold {count} slots and {count * each / 1024:.0f} GiB")


def main() -> int:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, fake_alertmanager() as alerts:
        home = Path(folder) / "home"
        (home / "dags").mkdir(parents=True)
        text = DAGS.replace("COUNT", str(asked.gates)).replace("POKES", str(POKES))
        (home / "dags" / "waiting.py").write_text(text)
        (home / "policy.yaml").write_text(POLICY)
        extra = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__PARALLELISM": str(POKES),
            "AIRFLOW__TRIGGERER__CAPACITY": "5000",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120",
            "ALERTMANAGER_URL": alerts.url,
            "RELEASE_POLICY": str(home / "policy.yaml"),
            "PYTHONPATH": str(PROJECT),
        }
        with LocalStack(home, extra=extra) as stack, stack.rest() as rest:
            waiting = Waiting(stack, rest, alerts)
            while not all(rest.get(f"/dags/{dag}").is_success for dag in ("probe", "gates", "fleets", "pokes")):
                time.sleep(0.5)
            measure(waiting, asked.gates, asked.seconds)
            poke(waiting, asked.gates)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
