"""A system that runs: started, ready, asked once, measured, and ended with everything it started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx

from benchmarks.serving.model import RUNS
from benchmarks.serving.systems import System, read
from scripts.services import Service, free_port

START_SECONDS = 120.0
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


class Running:
    """One system on a port of loopback; use it as a context manager."""

    def __init__(self, system: System, logs: Path) -> None:
        self.system = system
        self.port = free_port()
        self.run_id = RUNS[0]
        self._log = logs / f"{system.name.replace(' ', '-')}.log"
        self._service: Service | None = None
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        """Start it, and wait until it answers.

        Raises:
            StackError: it ended.
            TimeoutError: it is not ready in time.
        """
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all its processes."""
        self._stop()
        self._client.close()

    def move(self, run_id: str) -> None:
        """Serve another run, the way the system has for it; returns when that is done."""
        self.run_id = run_id
        if self.system.ours:
            self._post({"run_id": run_id})
        else:
            self._stop()
            self._start()

    def ask(self, user_id: str) -> tuple[str, list[str]]:
        """Return run and items of one answer."""
        path, body = self.system.path.replace("USER", user_id), self.system.body
        if body is None:
            answer = self._client.get(path)
        else:
            headers = {"Content-Type": "application/json"}
            answer = self._client.post(path, content=body.replace("USER", user_id), headers=headers)
        answer.raise_for_status()
        return read(answer.content)

    def memory(self) -> tuple[int, float]:
        """Return the number of its processes and their memory in MiB; pages that are shared count in proportion."""
        pids, kib = _tree(self._pid), 0
        for pid in pids:
            found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            kib += int(found[1]) if found else 0
        return len(pids), kib / 1024

    @property
    def _pid(self) -> int:
        if self._service is None or self._service.process is None:
            raise RuntimeError(f"{self.system.name} is not running")
        return self._service.process.pid

    def _start(self) -> None:
        command = [str(part) for part in self.system.command(self.port, self.run_id)]
        self._service = Service(self.system.name, command, self._log, self.system.full_environment(self.run_id))
        self._service.start()
        if self.system.ours:
            self._wait("/health/live")
            for reload in self.system.reloads:
                self._post(reload)
        self._wait(self.system.ready)

    def _stop(self) -> None:
        if self._service is None or self._service.process is None:
            return
        pids = _tree(self._service.process.pid)
        self._service.stop()
        for pid in pids:  # those that left the process group, should their parent have failed to end them
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _post(self, reload: object) -> None:
        answer = self._client.post("/models/reload", json=reload)
        if answer.is_error:
            raise RuntimeError(f"POST /models/reload {reload} was answered {answer.status_code}: {answer.text}")

    def _wait(self, path: str) -> None:
        assert self._service is not None  # noqa: S101  (for the type checker)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._service.check()
            with contextlib.suppress(httpx.TransportError):
                if self._client.get(path).is_success:
                    return
            time.sleep(0.02)
        raise TimeoutError(f"{self.system.name} is not ready after {START_SECONDS:g} s:\n{self._service.tail()}")


@contextlib.contextmanager
def running(systems: list[System], logs: Path) -> Iterator[list[Running]]:
    """Run several systems beside each other."""
    with contextlib.ExitStack() as stack:
        found = []
        for system in systems:
            print(f"starting {system.name}", flush=True)
            found.append(stack.enter_context(Running(system, logs)))
        yield found


def _tree(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found
