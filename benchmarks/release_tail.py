"""What a release costs beside empty tasks: ``python -m benchmarks.release_tail``.

Two DAGs of five tasks one after another, on one scheduler, in turn: a release whose gate passes at once, and five tasks
that do nothing in a worker process.  Two runs are released alternately, so that each release changes what is served.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from model_release.paths import ReleasePaths
from pipeline.config import load_config
from pipeline.data_quality_v2 import check_data
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from scripts.local_stack import LocalStack
from tests.live.shop import LAST_DAY, write_shop

LIMIT = 1.3
RUN_SECONDS = 180.0
TASKS = ("register", "quality_gate", "model_reload", "verify", "close_release")
POLICY = """
schema_version: 1
name: tail
on_no_baseline: pass
checks:
  - {name: ndcg-floor, kind: absolute, metric: ndcg_at_10, at_least: 0.001, minimum_users: 50}
"""
DAGS = """
import os
from airflow.sdk import DAG, BaseOperator, chain
from model_release_airflow.release import release_model


class Nothing(BaseOperator):
    def execute(self, context):
        pass


with DAG("tail_release", schedule=None, is_paused_upon_creation=False):
    release_model(run_id="{{ dag_run.conf['run_id'] }}", policy=os.environ.get("RELEASE_POLICY"))
with DAG("tail_empty", schedule=None, is_paused_upon_creation=False):
    chain(*[Nothing(task_id=f"nothing_{number}") for number in range(5)])
"""


def prepared(home: Path) -> tuple[LocalStack, list[str]]:
    """Train two runs below ``home``; return a stack that is not started yet, and the runs."""
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "tail.py").write_text(DAGS)
    (home / "policy.yaml").write_text(POLICY)
    extra = {"AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"), "RELEASE_POLICY": str(home / "policy.yaml")}
    paths, config = ReleasePaths(home), load_config(write_shop(home / "shop", LAST_DAY))
    check_data(config, paths, None)
    runs = [train(config, paths, None, algorithm).run_id for algorithm in ("popular", "personal_frequency")]
    for run_id in runs:
        evaluate(config, paths, run_id)
    return LocalStack(home, extra=extra), runs


def timed(rest: httpx.Client, dag_id: str, run_id: str) -> dict[str, float]:
    """Run a DAG; return the seconds from its start to the end of each task, in order.

    Raises:
        RuntimeError: it did not succeed.
    """
    body = {"logical_date": None, "conf": {"run_id": run_id}}
    name = rest.post(f"/dags/{dag_id}/dagRuns", json=body).raise_for_status().json()["dag_run_id"]
    url, deadline = f"/dags/{dag_id}/dagRuns/{name}", time.monotonic() + RUN_SECONDS
    while (run := rest.get(url).raise_for_status().json())["state"] not in {"success", "failed"}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{dag_id} takes longer than {RUN_SECONDS:g} s")
        time.sleep(0.5)
    tasks = rest.get(f"{url}/taskInstances").raise_for_status().json()["task_instances"]
    if run["state"] != "success":
        raise RuntimeError(f"{dag_id} failed: { {task['task_id']: task['state'] for task in tasks} }")
    began = dt.datetime.fromisoformat(run["start_date"])
    ends = {task["task_id"]: (dt.datetime.fromisoformat(task["end_date"]) - began).total_seconds() for task in tasks}
    return dict(sorted(ends.items(), key=lambda one: one[1]))


def known(rest: httpx.Client, *dags: str) -> None:
    """Wait until Airflow has read the DAGs."""
    while not all(rest.get(f"/dags/{dag}").is_success for dag in dags):
        time.sleep(0.5)


def interval(ours: list[float], empty: list[float], seed: int = 1) -> tuple[float, float, float]:
    """Return the ratio of the medians, and the 95 % percentile bootstrap interval of it, over pairs."""
    rng, first, second = np.random.default_rng(seed), np.array(ours), np.array(empty)
    drawn = rng.integers(0, len(first), (10_000, len(first)))
    ratios = np.median(first[drawn], axis=1) / np.median(second[drawn], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(first) / np.median(second)), float(low), float(high)


def main() -> int:
    """Print both times of each pair, and the ratio; status 1 if it is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    pairs = parser.parse_args().pairs
    ours: list[dict[str, float]] = []
    empty: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        stack, runs = prepared(Path(folder) / "home")
        with stack, stack.rest() as rest:
            known(rest, "tail_release", "tail_empty")
            timed(rest, "tail_empty", "")  # the first of each is slow
            timed(rest, "tail_release", runs[1])
            for number in range(pairs):
                both = [(ours, "tail_release"), (empty, "tail_empty")]
                for found, dag in both if number % 2 else reversed(both):
                    found.append(timed(rest, dag, runs[number % 2]))
                print(
                    f"{number + 1}: " + ", ".join(f"{max(one[-1].values()):.2f}" for one in (ours, empty)), flush=True
                )
    for what, count in (("to the end of verify", 4), ("to the end of close_release", 5)):
        mine, theirs = ([sorted(one.values())[count - 1] for one in group] for group in (ours, empty))
        ratio, low, high = interval(mine, theirs)
        print(f"{what}: {statistics.median(mine):.2f} s, empty {statistics.median(theirs):.2f} s, ", end="")
        print(f"ratio {ratio:.2f} ({low:.2f} to {high:.2f})")
    for task in TASKS:
        print(f"{task} ends after {statistics.median(one[task] for one in ours):.2f} s")
    return int(not ratio <= LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
