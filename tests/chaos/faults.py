"""The faults, each injected while one task of a release runs or waits."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.proxy import Mode
from tests.chaos.stack import ChaosStack, replica_name

DURATION_SECONDS = 6.0
DAG, OTHER_DAG = "chaos_release", "chaos_other"
STEPS = (
    "register",
    "quality_gate",
    "shadow_20",
    "judge_shadow_20",
    "canary_10",
    "judge_canary_10",
    "canary_50",
    "judge_canary_50",
    "model_reload",
    "verify",
    "close_release",
)


@dataclass
class Target:
    """What faults are done to.

    Attributes:
        stack: Airflow and the replicas.
        rest: Airflow's REST API, which may be away.
        dag_run_id: the release under way.
        run_id: what it releases.
        third_run_id: what another release would make current.
        others: DAG and DAG run of each other release that a fault started.
        count: faults so far; chooses the victim.
    """

    stack: ChaosStack
    rest: httpx.Client
    dag_run_id: str
    run_id: str
    third_run_id: str
    others: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    @property
    def victim(self) -> int:
        """The number of the replica whose turn it is."""
        return self.count % self.stack.count


def _through_proxy(mode: Mode) -> Callable[[Target, str], str]:
    def inject(target: Target, _step: str) -> str:
        number = target.victim
        proxy = target.stack.faults[number]
        proxy.set(mode)
        threading.Timer(DURATION_SECONDS, proxy.set, (Mode.PASS,)).start()
        return replica_name(number)

    return inject


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
    threading.Thread(target=target.stack.pause, args=(name, DURATION_SECONDS), daemon=True).start()
    return name


def _kill_worker(target: Target, _step: str) -> str:
    name = replica_name(target.victim)
    report = target.stack.reports()[name]
    if report is None or not report["workers"]:
        return "nobody: the replica did not answer"
    pid = int(report["workers"][0]["pid"])
    os.kill(pid, signal.SIGKILL)
    return f"{name}, worker {pid}"


def _clear(target: Target, step: str) -> str:
    body = {
        "dry_run": False,
        "dag_run_id": target.dag_run_id,
        "task_ids": [step],
        "include_downstream": True,
        "only_failed": False,
        "reset_dag_runs": True,
    }
    answer = target.rest.post(f"/dags/{DAG}/clearTaskInstances", json=body)
    answer.raise_for_status()
    return f"{len(answer.json()['task_instances'])} tasks"


def _duplicate(target: Target, _step: str) -> str:
    body = {"dag_run_id": target.dag_run_id, "logical_date": None, "conf": {"run_id": target.run_id}}
    status = target.rest.post(f"/dags/{DAG}/dagRuns", json=body).status_code
    if status != 409:
        raise AssertionError(f"the same DAG run was taken twice: status {status}")
    return "409"


def _second_release(target: Target, step: str) -> str:
    dag_run_id = f"{target.dag_run_id}_{step}"
    body = {"dag_run_id": dag_run_id, "logical_date": None, "conf": {"run_id": target.third_run_id}}
    target.rest.post(f"/dags/{OTHER_DAG}/dagRuns", json=body).raise_for_status()
    target.others.append((OTHER_DAG, dag_run_id))
    return dag_run_id


AROUND_TASKS = ("task killed before its work", "task killed after its work")  # by the task itself: see kills.py
FAULTS: Mapping[str, Callable[[Target, str], Any]] = {
    "triggerer killed": _kill("triggerer"),
    "scheduler killed": _kill("scheduler"),
    "API server killed": _kill("airflow"),
    "API worker killed": _kill_worker,
    "replica killed": _kill_replica,
    "replica stopped for 6 s": _pause_replica,
    "slow": _through_proxy(Mode.SLOW),
    "reset": _through_proxy(Mode.RESET),
    "refused": _through_proxy(Mode.REFUSE),
    "black hole for 6 s": _through_proxy(Mode.BLACK_HOLE),
    "answers lost": _through_proxy(Mode.ANSWER_LOST),
    "task cleared": _clear,
    "same DAG run again": _duplicate,
    "another release at once": _second_release,
}


def arm(target: Target, fault: str, steps: tuple[str, ...]) -> None:
    """Leave word for the tasks that are to kill themselves."""
    when = "before" if fault == AROUND_TASKS[0] else "after"
    for step in steps:
        (target.stack.home / "kills" / f"{step}.{when}").touch()


def killed(target: Target, step: str) -> bool:
    """Whether a task has killed itself; says so once."""
    for when in ("before", "after"):
        mark = target.stack.home / "kills" / f"{step}.{when}.done"
        if mark.exists():
            mark.unlink()
            return True
    return False


def disarm(target: Target) -> None:
    """Take back what was not carried out."""
    for mark in (target.stack.home / "kills").iterdir():
        mark.unlink()
    for proxy in target.stack.faults:
        proxy.set(Mode.PASS)


def wait_for(what: str, holds: Callable[[], bool], seconds: float) -> float:
    """Wait until ``holds``; return how many seconds that took, or raise ``TimeoutError``."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not in {seconds:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - started
