"""The worker processes of one replica, one by one: which answers, a connection to a certain one, signals, memory."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from model_release.contract import WorkerReport
from tests.api.crowd import Crowd
from tests.api.replica import Replica, wait_until
from tests.runs import USERS


def workers(replica: Replica) -> dict[int, WorkerReport]:
    """Return what each worker says that it serves, by process id."""
    return {report.pid: report for report in replica.models().workers}


def complete(replica: Replica, run_id: str | None = None) -> bool:
    """Whether all workers are there and serve the same generation, and ``run_id`` if it is given."""
    report = replica.models()
    served = {(worker.generation, worker.current) for worker in report.workers}
    if len(report.workers) != report.workers_expected or len(served) != 1:
        return False
    ((_, current),) = served
    return current is not None and run_id in {None, current}


def worker_of(answer: httpx.Response) -> int:
    """Return the process that answered on the hot path: request ids begin with it."""
    return int(answer.headers["x-request-id"].partition("-")[0], 16)


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Let these processes do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until("they have stopped", lambda: all(state(pid) == "T" for pid in pids))
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def connected(replica: Replica, pid: int) -> Iterator[httpx.Client]:
    """Give a client with a connection to one certain worker: the others take none while it is made."""
    others = [other for other in workers(replica) if other != pid]
    with httpx.Client(base_url=replica.url, headers=replica.authorization, trust_env=False, timeout=30.0) as connection:
        with stopped(others):
            assert worker_of(connection.get(f"/recommend/{USERS[0]}")) == pid
        yield connection


def state(pid: int) -> str | None:
    """Return the kernel's letter for what a process does (T: stopped, Z: ended); None: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return state(pid) in {None, "Z"}


def open_files(pid: int) -> int:
    """Return how many file descriptors a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def memory_kib(pid: int) -> int:
    """Return the memory of a process, with its share of what it shares."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


@dataclass(frozen=True)
class Asked:
    """One request over a connection of its own; ``sent`` in seconds of ``time.monotonic()``.

    Attributes:
        outcome: ``answered``, ``refused`` (no connection: nothing was sent) or ``lost``.
        pid: who answered.
    """

    sent: float
    outcome: str
    status: int | None = None
    run_id: str | None = None
    degraded: str | None = None
    pid: int | None = None


class FreshCrowd(Crowd):
    """Threads that ask without a pause, each time over a new connection."""

    def __init__(self, replica: Replica, threads: int = 4) -> None:
        self.asked: list[Asked] = []
        url = httpx.URL(replica.url)
        self._address = url.host, url.port or 80
        super().__init__(threads)

    def since(self, moment: float) -> list[Asked]:
        """Return what was sent after ``moment`` (``time.monotonic()``)."""
        return [asked for asked in tuple(self.asked) if asked.sent > moment]

    def wait_for(self, count: int, *, pids: Sequence[int] = ()) -> None:
        """Wait until ``count`` more answers were sent for and came, some of them from each of ``pids``."""
        moment = time.monotonic()

        def enough() -> bool:
            new = self.since(moment)
            return len(new) >= count and set(pids) <= {asked.pid for asked in new}

        wait_until("the crowd goes on", enough)

    def ask(self, _: int) -> None:
        while not self.over:
            self.asked.append(ask_once(self._address))


def ask_once(address: tuple[str, int]) -> Asked:
    """Ask once, over a new connection."""
    connection = http.client.HTTPConnection(*address, timeout=30.0)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return Asked(time.monotonic(), "refused")
    sent = time.monotonic()
    try:
        connection.request("GET", f"/recommend/{USERS[0]}")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        return Asked(sent, "lost")
    finally:
        connection.close()
    pid = int(answer.headers["x-request-id"].partition("-")[0], 16) if answer.status == 200 else None
    return Asked(sent, "answered", answer.status, body.get("run_id"), body.get("degraded"), pid)
