"""Deferrals whose evidence is there at once: ``python -m benchmarks.early_triggers``.

A trigger that fires while its task is still being put to sleep can make the scheduler fail the task (apache/airflow
#71580, #72716).  Ours live for a few seconds at least.  Each deferral is a task of its own, without retries, on a real
scheduler with real workers and a real triggerer; what fails is counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from scripts.local_stack import LocalStack

RUN_SECONDS = 3600.0
DAGS = """
import datetime as dt
import time

from airflow.sdk import DAG, BaseOperator
from model_release_airflow.triggers.evidence import EvidenceTrigger, parse_evidence_event


class Early(BaseOperator):
    def __init__(self, *, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context):
        trigger = EvidenceTrigger(
            run_id=f"run-{self.number}", release_id="early", policy=None, alerts=[], known="something else",
            started_at=time.time(), poll_seconds=0.1, deadline=time.time() + 300,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=dt.timedelta(seconds=360))

    def execute_complete(self, context, event=None):
        if parse_evidence_event(event)["status"] != "changed":
            raise RuntimeError(f"the evidence was there at once: {event}")


with DAG("early", schedule=None, is_paused_upon_creation=False, max_active_tasks=64):
    Early.partial(task_id="early", retries=0).expand(number=list(range(COUNT)))
"""


def states(rest: httpx.Client, url: str) -> Counter[tuple[str, int]]:
    """Return how many task instances are in each state, with their number of tries."""
    found: Counter[tuple[str, int]] = Counter()
    while True:
        page = {"limit": 100, "offset": found.total()}
        answer = rest.get(f"{url}/taskInstances", params=page).raise_for_status().json()
        found.update((str(task["state"]), int(task["try_number"])) for task in answer["task_instances"])
        if found.total() >= answer["total_entries"]:
            return found


def reasons(rest: httpx.Client, url: str, log: Path) -> list[str]:
    """Return what the log of Airflow says of each task instance that failed, and the end of the task's own log."""
    said = log.read_text(errors="replace").splitlines()
    found = []
    failed = rest.get(f"{url}/taskInstances", params={"state": "failed", "limit": 20}).raise_for_status().json()
    for task in failed["task_instances"]:
        about = [line for line in said if task["id"] in line or f"map_index={task['map_index']}" in line]
        own = rest.get(
            f"{url}/taskInstances/early/logs/1",
            params={"map_index": task["map_index"]},
            headers={"Accept": "text/plain"},
        )
        found += [f"-- {task['map_index']}: {task['start_date']} to {task['end_date']}", *about[-8:], own.text[-1500:]]
    return found


def main() -> int:
    """Print how many ended how; status 1 unless all succeeded at the first try."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deferrals", type=int, default=200)
    count = parser.parse_args().deferrals
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        (home / "dags").mkdir(parents=True)
        (home / "dags" / "early.py").write_text(DAGS.replace("COUNT", str(count)))
        extra = {"AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")}
        with LocalStack(home, extra=extra) as stack, stack.rest() as rest:
            while not rest.get("/dags/early").is_success:
                time.sleep(0.5)
            name = rest.post("/dags/early/dagRuns", json={"logical_date": None}).raise_for_status().json()["dag_run_id"]
            url, deadline = f"/dags/early/dagRuns/{name}", time.monotonic() + RUN_SECONDS
            while rest.get(url).raise_for_status().json()["state"] not in {"success", "failed"}:
                if time.monotonic() > deadline:
                    break
                time.sleep(2.0)
                print(dict(states(rest, url)), flush=True)
            ended = states(rest, url)
            for line in reasons(rest, url, stack.home / "logs" / "airflow.log"):
                print(line)
    print(f"{ended[('success', 1)]} of {count} succeeded at the first try; all: {dict(ended)}")
    return int(ended[("success", 1)] != count)


if __name__ == "__main__":
    raise SystemExit(main())
