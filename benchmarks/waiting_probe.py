"""What ``benchmarks.gate_waiting`` runs inside the triggerer and inside Airflow's database."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release_airflow.shared import EVIDENCE, REPLICAS

SLEEP_SECONDS = 0.1


class ProbeTrigger(BaseTrigger):
    """Write down, ten times a second, how late the event loop is, what the process takes, and what was asked.

    :param file: Where to; one JSON object a line.
    """

    def __init__(self, *, file: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.file = file

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        return ("benchmarks.waiting_probe.ProbeTrigger", {"file": self.file})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Never fire."""
        with Path(self.file).open("a", encoding="utf-8") as out:  # noqa: ASYNC230  (once, a local file)
            while not self.file.endswith(".stop"):  # never
                began = time.monotonic()
                await asyncio.sleep(SLEEP_SECONDS)
                seen = {
                    "at": time.time(),
                    "late": time.monotonic() - began - SLEEP_SECONDS,
                    "tasks": len(asyncio.all_tasks()),
                    "mib": resident(os.getpid()),
                    "supervisor_mib": resident(os.getppid()),
                    "cpu": time.process_time(),
                    "asked": EVIDENCE.asked + REPLICAS.asked,
                    "made": EVIDENCE.made + REPLICAS.made,
                }
                print(json.dumps(seen), file=out, flush=True)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]


def resident(pid: int) -> float:
    """Return the memory that a process has in use, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def put_to_sleep(dag_id: str, classpath: str, kwargs: list[dict[str, Any]]) -> None:
    """Defer the task instances of the one run of ``dag_id``, as the execution API does when a worker defers."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import select

    now = dt.datetime.now(dt.UTC)
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)).one()
        run.state, run.start_date = "running", now
        tasks = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id)).all()
        for task, given in zip(tasks, kwargs, strict=True):
            trigger = Trigger(classpath=classpath, kwargs=given)
            session.add(trigger)
            session.flush()
            task.state, task.trigger_id, task.start_date, task.try_number = "deferred", trigger.id, now, 1
            task.next_method, task.next_kwargs = "execute_complete", {}


if __name__ == "__main__":
    put_to_sleep(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
