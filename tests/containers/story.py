"""A release on the stack in containers, one that loses a replica, a worker and the scheduler, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.containers.stack import API, Container, Stack, StackError, wait
from tests.containers.visitors import Visitors

PIPELINE, ROLLBACK = "recommendation_pipeline", "recommendation_rollback"
WEEKS = ("2017-11-12", "2017-11-19")  # of the demo's data
ENDED = {"success", "failed"}
REPLICAS, PROCESSES = 3, 2


@dataclass
class Story:
    """What happened, and when.

    Attributes:
        stack: where it happens.
        say: is told each line as it happens.
        lines: seconds since the beginning, and what happened.
    """

    stack: Stack
    say: Callable[[str], None]
    lines: list[tuple[float, str]] = field(default_factory=list)
    _zero: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        """Note what happened."""
        seconds = time.monotonic() - self._zero
        self.lines.append((seconds, what))
        self.say(f"{seconds:7.1f} s  {what}")

    def run(self) -> None:
        """Carry it out.

        Raises:
            StackError: something did not happen as it should.
        """
        self._up()
        first = self._release("first", WEEKS[0])
        with Visitors() as visitors:
            self._watched()
            self._release_with_losses(WEEKS[1], first)
            self._back(first)
        asked = sum(visitors.answers.values()) + sum(visitors.lost.values())
        lost = ", ".join(f"{count} x {what}" for what, count in visitors.lost.items()) or "none"
        self.tell(f"{asked} requests went through the proxy since the first release; lost: {lost}")
        if visitors.lost:
            raise StackError(f"requests were lost: {lost}")

    def down(self) -> None:
        """Take everything down, volumes included."""
        self.stack.compose("down", "--volumes", "--timeout", "20")
        left = self.stack.containers()
        self.tell(f"down; {len(left)} containers left")

    def _up(self) -> None:
        self.stack.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "600")
        running = [one for one in self.stack.containers() if one.pid]
        self.tell(f"up: {len(running)} containers, each healthy")
        self.stack.login()
        wait("the DAG is known", lambda: self.stack.ask(f"/dags/{PIPELINE}") is not None, 180)

    def _release(self, name: str, as_of: str) -> str:
        self.stack.trigger(PIPELINE, name, {"as_of": as_of})
        self.tell(f"{PIPELINE} is triggered, on data before {as_of}")
        return self._released(name)

    def _released(self, name: str) -> str:
        wait(f"{name} ends", lambda: self.stack.state(PIPELINE, name) in ENDED, 900)
        tasks = self.stack.tasks(PIPELINE, name)
        if self.stack.state(PIPELINE, name) != "success":
            raise StackError(f"{name} failed: { {one: task['state'] for one, task in tasks.items()} }")
        value = self.stack.ask(f"/dags/{PIPELINE}/dagRuns/{name}/taskInstances/evaluate/xcomEntries/return_value")
        run = str(value["value"]["run_id"])
        self._all_serve(run, 60)
        tries = {one: task["try_number"] for one, task in tasks.items() if task["try_number"] > 1}
        again = f"; tried more than once: {tries}" if tries else ""
        self.tell(f"released: {run} is served by every process of every replica{again}")
        return run

    def _all_serve(self, run: str, seconds: float) -> None:
        expected = [run] * REPLICAS * PROCESSES
        wait(f"everybody serves {run}", lambda: self.stack.served() == expected, seconds)

    def _watched(self) -> None:
        query = self.stack.query
        wait("Prometheus sees every replica", lambda: len(query('up{job="recommendation-api"} == 1')) == REPLICAS, 60)
        wait("Prometheus sees Airflow", lambda: len(query('probe_success{job="airflow"} == 1')) == 4, 120)
        wait("the data's scores arrive", lambda: len(query("data_quality_score")) > 0, 60)
        wait("the bridge tells the current run", lambda: len(query("model_release_current_info")) == 1, 60)
        counted = 'collectd_statsd_derive_total{statsd=~"airflow.*heartbeat"}'
        wait("Airflow's own metrics arrive", lambda: len(query(counted)) > 0, 90)
        self.tell(
            "Prometheus sees every replica, Airflow's metrics, the parts of Airflow, the data's scores and the current run"
        )

    def _release_with_losses(self, as_of: str, before: str) -> None:
        name = "second"
        self.stack.trigger(PIPELINE, name, {"as_of": as_of})
        self.tell(f"{PIPELINE} is triggered again, on data before {as_of}; now things die")
        worker = self.stack.container(self._hostname(name, "train"))
        self._kill(worker, "the Celery worker that trains")
        self._kill(self.stack.containers(API)[0], f"a replica, which serves {before}")
        self._hostname(name, "evaluate")
        self._kill(self.stack.containers("airflow-scheduler")[0], "the scheduler, while the new run is evaluated")
        if self._released(name) == before:
            raise StackError("the second release trained nothing new")

    def _hostname(self, name: str, task: str) -> str:
        """Wait until a task runs; return the name of the container where it does."""

        def running() -> bool:
            return self.stack.tasks(PIPELINE, name).get(task, {}).get("state") == "running"

        wait(f"{task} runs", running, 300, pause=0.3)
        return str(self.stack.tasks(PIPELINE, name)[task]["hostname"])

    def _kill(self, container: Container, what: str) -> None:
        self.stack.kill(container)
        begun = time.monotonic()
        self.tell(f"kill -9: {what}")

        def is_back() -> bool:
            now = self.stack.container(container.id)
            return now.pid not in {0, container.pid} and now.health == "healthy"

        wait(f"{container.service} comes back", is_back, 180)
        self.tell(f"{container.service} is back and healthy after {time.monotonic() - begun:.1f} s")

    def _back(self, run: str) -> None:
        name = "back"
        self.stack.trigger(ROLLBACK, name, {"reason": "the proof on containers", "set_latch": False})
        self.tell(f"{ROLLBACK} is triggered")
        wait("the rollback ends", lambda: self.stack.state(ROLLBACK, name) in ENDED, 300)
        if self.stack.state(ROLLBACK, name) != "success":
            raise StackError(f"the rollback failed: {self.stack.tasks(ROLLBACK, name)}")
        self._all_serve(run, 60)
        self.tell(f"rolled back: {run} is served by every process of every replica again")
