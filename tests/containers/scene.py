"""What every story on the stack begins with and ends with: up, a release, everybody serves it, down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.containers.stack import Stack, StackError, wait
from tests.containers.visitors import Visitors

PIPELINE = "recommendation_pipeline"
WEEKS = ("2017-11-12", "2017-11-19", "2017-11-26")  # of the demo's data
ENDED = {"success", "failed"}
REPLICAS, PROCESSES = 3, 2


@dataclass
class Scene:
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
        """Carry the story out.

        Raises:
            StackError: something did not happen as it should.
        """
        raise NotImplementedError

    def down(self) -> None:
        """Take everything down, volumes included."""
        self.stack.compose("down", "--volumes", "--timeout", "20")
        left = self.stack.containers()
        self.tell(f"down; {len(left)} containers left")

    def up(self) -> None:
        """Bring it up, and log in."""
        self.stack.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "600")
        self.arrived()

    def arrived(self) -> None:
        """Note that it is up, and log in."""
        running = [one for one in self.stack.containers() if one.pid]
        self.tell(f"up: {len(running)} containers, each healthy")
        self.stack.login()
        wait("the DAG is known", lambda: self.stack.ask(f"/dags/{PIPELINE}") is not None, 180)

    def release(self, name: str, conf: dict[str, Any]) -> str:
        """Release what a DAG run makes; return the run."""
        self.stack.trigger(PIPELINE, name, conf)
        self.tell(f"{PIPELINE} is triggered, on data before {conf['as_of']}")
        return self.released(name)

    def released(self, name: str) -> str:
        """Wait until a DAG run has released its run and everybody serves it; return the run.

        Raises:
            StackError: it did not.
        """
        wait(f"{name} ends", lambda: self.stack.state(PIPELINE, name) in ENDED, 900)
        tasks = self.stack.tasks(PIPELINE, name)
        if self.stack.state(PIPELINE, name) != "success":
            raise StackError(f"{name} failed: { {one: task['state'] for one, task in tasks.items()} }")
        run = self.stack.evaluated(PIPELINE, name)
        self.all_serve(run)
        tries = {one: task["try_number"] for one, task in tasks.items() if task["try_number"] > 1}
        again = f"; tried more than once: {tries}" if tries else ""
        self.tell(f"released: {run} is served by every process of every replica{again}")
        return run

    def done(self, dag: str, name: str) -> None:
        """Wait until a DAG run succeeded.

        Raises:
            StackError: it did not.
        """
        wait(f"{dag} ends", lambda: self.stack.state(dag, name) in ENDED, 300)
        if self.stack.state(dag, name) != "success":
            raise StackError(f"{dag} failed: {self.stack.tasks(dag, name)}")

    def all_serve(self, run: str) -> None:
        """Wait until every process of every replica serves a run."""
        expected = [run] * REPLICAS * PROCESSES
        wait(f"everybody serves {run}", lambda: self.stack.served() == expected, 60)

    def nobody_lost(self, visitors: Visitors) -> None:
        """Note what the visitors got.

        Raises:
            StackError: a request was lost.
        """
        asked = sum(visitors.answers.values()) + sum(visitors.lost.values())
        lost = ", ".join(f"{count} x {what}" for what, count in visitors.lost.items()) or "none"
        self.tell(f"{asked} requests went through the proxy since the first release; lost: {lost}")
        if visitors.lost:
            raise StackError(f"requests were lost: {lost}")
