"""The stack with runs to release, what it says of itself, and what people were told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from model_release.steps import read_steps
from scripts.local_stack import API_WORKERS
from tests.chaos import invariants
from tests.chaos.faults import DAG
from tests.chaos.stack import STEPS, ChaosStack
from tests.chaos.watch import Watch
from tests.executors.servers import Servers
from tests.fakes_wecom import FakeWeCom, wecom

ALGORITHMS = ("personal_frequency", "next_basket", "popular")
OVER = frozenset({"success", "failed"})


class Scene:
    """What the harness does and sees; files and replicas are read directly, with no code of the product.

    Attributes:
        runs: trained and evaluated; the first two are released in turn, the third by another release at once.
        releases: those that have ended.
        last_dag_run_id: the last of them that was one of the harness's own.
    """

    def __init__(self, stack: ChaosStack, robot: FakeWeCom, runs: Sequence[str]) -> None:
        self.stack = stack
        self.robot = robot
        self.runs = runs
        self.rest = stack.rest()
        self.releases: list[str] = []
        self.last_dag_run_id: str | None = None
        self.watch = Watch(self.disagreements)

    @property
    def steps(self) -> tuple[str, ...]:
        """The tasks of a release, in their order."""
        return tasks_of(self.stack.steps)

    @property
    def current(self) -> str | None:
        """The run that is to be served, by the registry's file."""
        current = self.registry()["current"]
        return None if current is None else str(current["run_id"])

    def next_runs(self) -> tuple[str, str]:
        """Return the run to release now, which is not current, and another one that is not current either."""
        first, second = [run for run in self.runs if run != self.current][:2]
        return first, second

    def registry(self) -> dict[str, Any]:
        """Return the registry as it stands in its file; before the first release there is none."""
        file = self.stack.home / "models" / "model_registry.json"
        empty = {"generation": 0, "current": None, "candidate": None}
        return dict(json.loads(file.read_text())) if file.exists() else empty

    def ledger(self) -> list[invariants.Json]:
        """Return the ledger as it stands in its file."""
        return invariants.read_ledger((self.stack.home / "models" / "release_ledger.jsonl").read_text())

    def disagreements(self) -> list[str]:
        """Return how replicas differ from the registry now."""
        registry = self.registry()
        return invariants.disagreements(registry, self.stack.reports(), workers=API_WORKERS, now=time.time())

    def trigger(self, dag_id: str, dag_run_id: str, run_id: str) -> None:
        """Start a release of a run."""
        body = {"dag_run_id": dag_run_id, "logical_date": None, "conf": {"run_id": run_id}}
        self.rest.post(f"/dags/{dag_id}/dagRuns", json=body).raise_for_status()

    def ended(self, dag_run_id: str, others: Sequence[tuple[str, str]] = ()) -> None:
        """Take note of releases that have ended: the harness's own, and those of others (DAG, DAG run)."""
        names = [invariants.release_id(*one) for one in ((DAG, dag_run_id), *others)]
        self.releases += [name for name in dict.fromkeys(names) if name not in self.releases]
        self.last_dag_run_id = dag_run_id

    def untold(self) -> list[str]:
        """Return the releases that nobody was told of."""
        return [name for name in self.releases if not any(f"`{name}`" in text for text in self.robot.texts)]

    def states(self, dag_id: str, dag_run_id: str) -> dict[str, str]:
        """Return the states of a release's tasks; none if Airflow does not answer."""
        answer = self._get(f"/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances")
        return {} if answer is None else {one["task_id"]: one["state"] or "" for one in answer["task_instances"]}

    def state(self, dag_id: str, dag_run_id: str) -> str:
        """Return the state of a DAG run; empty: Airflow does not answer."""
        answer = self._get(f"/dags/{dag_id}/dagRuns/{dag_run_id}")
        return "" if answer is None else str(answer["state"])

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = self.rest.get(path, timeout=5)
            return dict(answer.json()) if answer.is_success else None
        except (httpx.HTTPError, ValueError):
            return None


def tasks_of(steps: str) -> tuple[str, ...]:
    """Return the tasks of a release in these steps, in their order."""
    trials = [task for step in read_steps(steps) for task in (step.name, f"judge_{step.name}")]
    return ("register", "quality_gate", *trials, "model_reload", "verify", "close_release")


@contextmanager
def scene(home: Path, *, count: int = 3, steps: str = STEPS, servers: Servers | None = None) -> Iterator[Scene]:
    """Give a stack with three runs to release, of which none is current yet, and a robot that listens."""
    with wecom() as robot:
        extra = {"AIRFLOW_CONN_WECOM_ROBOT": robot.connection()}
        stack = ChaosStack(home, extra=extra, count=count, steps=steps, servers=servers)
        runs = stack.train(ALGORITHMS)
        with stack:
            made = Scene(stack, robot, runs)
            try:
                wait_for("Airflow knows the DAG", lambda: made.rest.get(f"/dags/{DAG}").is_success, 90)
                wait_for("every replica is up", lambda: not made.disagreements(), 30)
                yield made
            finally:
                made.watch.close()
                made.rest.close()


def wait_for(what: str, holds: Callable[[], bool], seconds: float) -> float:
    """Wait until ``holds``; return how many seconds that took, or raise ``TimeoutError``."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not in {seconds:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - started
