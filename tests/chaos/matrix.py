"""Releases, one after another, each with faults at its steps; after each fault and each release everything is checked."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from scripts.local_stack import API_WORKERS
from scripts.services import free_port
from tests import monitoring
from tests.chaos import invariants
from tests.chaos.faults import AROUND_TASKS, DAG, FAULTS, STEPS, Target, arm, disarm, killed, wait_for
from tests.chaos.stack import ChaosStack
from tests.fakes_wecom import FakeWeCom, wecom

AGREE_SECONDS = 60.0  # after a fault: until one generation is everywhere
RELEASE_SECONDS = 600.0  # from its trigger to its end, with a fault at every step
ALGORITHMS = ("personal_frequency", "next_basket", "popular")
_OVER = {"success", "failed"}


@dataclass
class Injected:
    """One fault: where, to whom, and how long until every worker of every replica agreed with the registry again."""

    fault: str
    step: str
    whom: str
    agreed_seconds: float | None = None
    problem: str = ""


@dataclass
class Released:
    """One release with its faults, and how it ended."""

    fault: str
    dag_run_id: str
    outcome: str = ""
    state: str = ""
    seconds: float = 0.0
    injected: list[Injected] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Chaos:
    """The stack, what people were told, and the checks."""

    def __init__(self, stack: ChaosStack, robot: FakeWeCom, runs: Sequence[str]) -> None:
        self.stack = stack
        self.robot = robot
        self.runs = runs
        self.rest = stack.rest()
        self._ended: list[str] = []

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
        return invariants.disagreements(self.registry(), self.stack.reports(), workers=API_WORKERS)

    def trigger(self, dag_run_id: str, run_id: str) -> None:
        """Start a release of a run."""
        body = {"dag_run_id": dag_run_id, "logical_date": None, "conf": {"run_id": run_id}}
        self.rest.post(f"/dags/{DAG}/dagRuns", json=body).raise_for_status()

    def states(self, dag_run_id: str) -> dict[str, str] | None:
        """Return the states of a release's tasks; None: Airflow does not answer."""
        answer = self._get(f"/dags/{DAG}/dagRuns/{dag_run_id}/taskInstances")
        return None if answer is None else {one["task_id"]: one["state"] or "" for one in answer["task_instances"]}

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

    def release(self, dag_run_id: str, fault: str, steps: Sequence[str]) -> Released:
        """Release the run that is not current, with ``fault`` at each of ``steps``, and check what became of it."""
        current = (self.registry()["current"] or {}).get("run_id")
        first, second, third = self.runs
        run_id = second if current == first else first
        done = Released(fault, dag_run_id)
        target = Target(self.stack, self.rest, dag_run_id, run_id, third)
        if fault in AROUND_TASKS:
            arm(target, fault, tuple(steps))
        began = time.monotonic()
        self.trigger(dag_run_id, run_id)
        watchers: list[threading.Thread] = []
        try:
            self._inject(target, done, list(steps), watchers)
            for dag_id, other in target.others:
                wait_for(f"{other} ends", lambda d=dag_id, o=other: self.state(d, o) in _OVER, RELEASE_SECONDS)  # type: ignore[misc]
        except TimeoutError as error:
            done.violations.append(str(error))
        finally:
            disarm(target)
        for watcher in watchers:
            watcher.join()
        done.seconds = time.monotonic() - began
        self._check(target, done)
        return done

    def _inject(self, target: Target, done: Released, steps: list[str], watchers: list[threading.Thread]) -> None:
        """Follow the release, and do the fault to each step when it is first seen to be at work."""
        deadline, quiet = time.monotonic() + RELEASE_SECONDS, 0
        while quiet < 5:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{target.dag_run_id} has not ended after {RELEASE_SECONDS:g} s")
            states = self.states(target.dag_run_id) or {}
            for step in [step for step in steps if self._due(target, done.fault, step, states)]:
                steps.remove(step)
                watchers.append(self._injected(target, done, step))
            state = self.state(DAG, target.dag_run_id)
            quiet = quiet + 1 if state in _OVER else 0
            done.state = state or done.state
            time.sleep(0.1)

    def _due(self, target: Target, fault: str, step: str, states: dict[str, str]) -> bool:
        if fault in AROUND_TASKS:
            return killed(target, step)
        if fault == "task cleared":
            return states.get(step) == "success"
        return states.get(step) in {"running", "deferred", "success", "failed"}

    def _injected(self, target: Target, done: Released, step: str) -> threading.Thread:
        injected = Injected(done.fault, step, "the task itself")
        done.injected.append(injected)
        try:
            if done.fault in FAULTS:
                injected.whom = str(FAULTS[done.fault](target, step))
        except (AssertionError, OSError, httpx.HTTPError, KeyError) as error:
            injected.problem = f"not injected: {error}"
        target.count += 1
        watcher = threading.Thread(target=self._watch, args=(injected,), daemon=True)
        watcher.start()
        return watcher

    def _watch(self, injected: Injected) -> None:
        time.sleep(0.3)  # for the fault to be felt
        try:
            injected.agreed_seconds = 0.3 + wait_for("one generation", lambda: not self.disagreements(), AGREE_SECONDS)
        except TimeoutError as error:
            injected.problem = f"{error}: {'; '.join(self.disagreements())}"

    def _check(self, target: Target, done: Released) -> None:
        found = done.violations
        try:
            wait_for("one generation at the end", lambda: not self.disagreements(), AGREE_SECONDS)
        except TimeoutError as error:
            found += [str(error), *self.disagreements()]
        registry, ledger = self.registry(), self.ledger()
        found += invariants.ledger_violations(registry, ledger)
        names = [f"{DAG}:{target.dag_run_id}", *(f"{dag_id}:{other}" for dag_id, other in target.others)]
        done.outcome = invariants.outcome_of(names[0], ledger)
        for name in names:
            found += invariants.release_violations(name, invariants.outcome_of(name, ledger), registry, ledger)
        self._ended += names
        with contextlib.suppress(TimeoutError):  # the check below says of what
            wait_for("people are told", lambda: not self._untold(), 60)
        found += [f"{one.step}: {one.problem}" for one in done.injected if one.problem]
        found += invariants.message_violations(self.robot.texts, self._ended)

    def _untold(self) -> list[str]:
        return [name for name in self._ended if not any(f"`{name}`" in text for text in self.robot.texts)]


@contextmanager
def chaos(home: Path, *, count: int = 3) -> Iterator[Chaos]:
    """Give a stack with one run released and another ready, a Prometheus that watches it, and a robot that listens."""
    port = free_port()
    with wecom() as robot:
        extra = {
            "AIRFLOW_CONN_WECOM_ROBOT": robot.connection(),
            "PROMETHEUS_URL": f"http://127.0.0.1:{port}",
        }
        stack = ChaosStack(home, extra=extra, count=count)
        runs = stack.train(ALGORITHMS)
        targets = [f"127.0.0.1:{one}" for one in stack.ports]
        with stack, monitoring.prometheus(home / "prometheus", targets, port=port):
            made = Chaos(stack, robot, runs)
            wait_for("Airflow knows the DAG", lambda: made.rest.get(f"/dags/{DAG}").is_success, 90)
            yield made


def plan(faults: Iterable[str], *, others_at: Sequence[str] = STEPS[1:9:2]) -> Iterator[tuple[str, Sequence[str]]]:
    """Give each fault with the steps it is done at: all of them; another release at once costs one of its own each time."""
    for fault in faults:
        if fault == "another release at once":
            yield from ((fault, (step,)) for step in others_at)
        else:
            yield fault, STEPS


def run(
    made: Chaos, planned: Iterable[tuple[str, Sequence[str]]], results: Path, say: Callable[[str], None]
) -> list[Released]:
    """Carry out a plan; each release is appended to ``results`` as one line of JSON."""
    found = [made.release("first", "none", ())]
    for number, (fault, steps) in zip(itertools.count(1), planned, strict=False):
        done = made.release(f"chaos_{number}", fault, steps)
        found.append(done)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
        say(
            f"{number:3} {fault}: {len(done.injected)} faults, {done.outcome}, {done.seconds:.0f} s, {done.violations or 'all well'}"
        )
    return found
