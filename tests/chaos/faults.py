"""The faults, each injected right before a task of a release does its work; the task waits for that."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.chaos.proxy import Mode
from tests.chaos.stack import PROMETHEUS, ChaosStack, replica_name

LASTS_SECONDS = 6.0
FELT_SECONDS = 1.0  # after that a kill shows
DAG, OTHER_DAG = "chaos_release", "chaos_other"


@dataclass
class Target:
    """What faults are done to.

    Attributes:
        stack: Airflow and the replicas.
        rest: Airflow's REST API, which may be away.
        dag_run_id: the release under way.
        run_id: what it releases.
        third_run_id: what another release would make current.
        last_dag_run_id: the release before; None: there was none.
        others: DAG and DAG run of each other release that a fault started.
        count: faults so far; chooses the victim.
    """

    stack: ChaosStack
    rest: httpx.Client
    dag_run_id: str
    run_id: str
    third_run_id: str
    last_dag_run_id: str | None
    others: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    @property
    def victim(self) -> int:
        """The number of the replica whose turn it is."""
        return self.count % self.stack.count


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        inject: does it while a step is at work; returns whom it hit.
        lasts: seconds after which it is over, or shows.
        meets: the task waits for it right before its work (``meet``), or does it itself, ``before`` or ``after``; see kills.py.
        states: of the task that it is done at if they do not meet.
    """

    inject: Callable[[Target, str], str]
    lasts: float = FELT_SECONDS
    meets: str | None = "meet"
    states: frozenset[str] = frozenset()


def _through_proxy(mode: Mode) -> Callable[[Target, str], str]:
    def inject(target: Target, _step: str) -> str:
        target.stack.faults[target.victim].set(mode, seconds=LASTS_SECONDS)
        return replica_name(target.victim)

    return inject


def _cut_all(target: Target, _step: str) -> str:
    for proxy in target.stack.faults:
        proxy.set(Mode.BLACK_HOLE, seconds=LASTS_SECONDS)
    return "every replica"


def _kill(name: str) -> Callable[[Target, str], str]:
    def inject(target: Target, _step: str) -> str:
        target.stack.kill(name)
        return name

    return inject


def _kill_replica(target: Target, _step: str) -> str:
    name = replica_name(target.victim)
    target.stack.kill(name)
    return name


def _pause_replica(target: Target, _step: str) -> str:
    name = replica_name(target.victim)
    target.stack.pause(name, LASTS_SECONDS)
    return name


def _kill_worker(target: Target, _step: str) -> str:
    name = replica_name(target.victim)
    report = target.stack.reports()[name]
    if report is None or not report["workers"]:
        raise LookupError(f"{name} has no worker to kill")
    pid = int(report["workers"][target.count // target.stack.count % len(report["workers"])]["pid"])
    os.kill(pid, signal.SIGKILL)
    return f"{name}, worker {pid}"


def _clear(target: Target, step: str) -> str:
    return _cleared(target, target.dag_run_id, [step])


def _clear_last(target: Target, _step: str) -> str:
    if target.last_dag_run_id is None:
        raise LookupError("there was no release before")
    target.others.append((DAG, target.last_dag_run_id))
    return _cleared(target, target.last_dag_run_id, ["register"])


def _cleared(target: Target, dag_run_id: str, tasks: list[str]) -> str:
    body = {
        "dry_run": False,
        "dag_run_id": dag_run_id,
        "task_ids": tasks,
        "include_downstream": True,
        "only_failed": False,
        "reset_dag_runs": True,
    }
    answer = target.rest.post(f"/dags/{DAG}/clearTaskInstances", json=body)
    answer.raise_for_status()
    return f"{len(answer.json()['task_instances'])} tasks of {dag_run_id}"


def _duplicate(target: Target, _step: str) -> str:
    body = {"dag_run_id": target.dag_run_id, "logical_date": None, "conf": {"run_id": target.run_id}}
    status = target.rest.post(f"/dags/{DAG}/dagRuns", json=body).status_code
    if status != httpx.codes.CONFLICT:
        raise AssertionError(f"the same DAG run was taken twice: status {status}")
    return "Airflow, which said 409"


def _second_release(target: Target, step: str) -> str:
    dag_run_id = f"{target.dag_run_id}_{step}"
    body = {"dag_run_id": dag_run_id, "logical_date": None, "conf": {"run_id": target.third_run_id}}
    target.rest.post(f"/dags/{OTHER_DAG}/dagRuns", json=body).raise_for_status()
    target.others.append((OTHER_DAG, dag_run_id))
    return dag_run_id


KILLED_BEFORE, KILLED_AFTER = "task killed before its work", "task killed after its work"
SECOND, LAST_CLEARED = "another release at once", "last release cleared"
ON_SERVERS: Mapping[str, Fault] = {  # only where Airflow runs on them
    "Celery worker killed": Fault(_kill("worker")),
    "PostgreSQL killed": Fault(_kill("postgres")),
    "Redis killed": Fault(_kill("redis")),
}
FAULTS: Mapping[str, Fault] = {
    KILLED_BEFORE: Fault(lambda _target, _step: "the task itself", meets="before"),
    KILLED_AFTER: Fault(lambda _target, _step: "the task itself", meets="after"),
    "triggerer killed": Fault(_kill("triggerer")),
    "scheduler killed": Fault(_kill("scheduler")),
    "API server killed": Fault(_kill("airflow")),
    "DAG processor killed": Fault(_kill("processor")),
    "Prometheus killed": Fault(_kill(PROMETHEUS)),
    "replica's worker killed": Fault(_kill_worker),
    "replica killed": Fault(_kill_replica),
    "replica stopped for 6 s": Fault(_pause_replica, LASTS_SECONDS),
    "slow for 6 s": Fault(_through_proxy(Mode.SLOW), LASTS_SECONDS),
    "reset for 6 s": Fault(_through_proxy(Mode.RESET), LASTS_SECONDS),
    "refused for 6 s": Fault(_through_proxy(Mode.REFUSE), LASTS_SECONDS),
    "black hole for 6 s": Fault(_through_proxy(Mode.BLACK_HOLE), LASTS_SECONDS),
    "black hole to all for 6 s": Fault(_cut_all, LASTS_SECONDS),
    "answers lost for 6 s": Fault(_through_proxy(Mode.ANSWER_LOST), LASTS_SECONDS),
    "task cleared": Fault(_clear, meets=None, states=frozenset({"success"})),
    "same DAG run again": Fault(_duplicate),
    SECOND: Fault(_second_release),
    LAST_CLEARED: Fault(_clear_last),
    **ON_SERVERS,
}


def arm(target: Target, faults: Mapping[str, str]) -> None:
    """Leave word for the tasks that are to kill themselves, and for those that are to wait for their fault."""
    for step, fault in faults.items():
        if FAULTS[fault].meets is not None:
            _mark(target, step, FAULTS[fault].meets).touch()


def due(target: Target, fault: str, step: str, state: str) -> bool:
    """Whether it is time for a fault: the task has said so, or is in one of the fault's states."""
    match FAULTS[fault].meets:
        case None:
            return state in FAULTS[fault].states
        case "meet":
            return _mark(target, step, "here").exists()
        case _:
            return _mark(target, step, "done").exists()


def done(target: Target, step: str) -> None:
    """Let a task go on that waits for its fault."""
    for what in ("here", "done"):
        _mark(target, step, what).unlink(missing_ok=True)


def _mark(target: Target, step: str, what: str | None) -> Path:
    return target.stack.kills / f"{DAG}:{target.dag_run_id}:{step}.{what}"


def disarm(target: Target) -> None:
    """Take back what was not carried out."""
    for mark in target.stack.kills.iterdir():
        mark.unlink(missing_ok=True)
    for proxy in target.stack.faults:
        proxy.set(Mode.PASS)
