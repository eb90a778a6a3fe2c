"""Prometheus, Alertmanager and their exporters as processes on loopback: found, started, waited for, ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import httpx

from scripts.services import PROJECT, Service, StackError, free_port

TOOLS = PROJECT / ".tools" / "bin"
_TRIES = 3  # another program may take the port that was free a moment ago
_START_SECONDS = 30.0


def tool(name: str) -> Path | None:
    """Return a program that ``scripts/debian_tools.sh`` fetched, or that is on PATH; None: there is none."""
    found = shutil.which(name, path=os.pathsep.join((str(TOOLS), os.environ.get("PATH", os.defpath))))
    return Path(found) if found else None


class Server:
    """A program that answers HTTP on loopback, in a process group of its own.

    Attributes:
        url: its address, without a slash at the end.
        address: the same as ``host:port``.
        process: it.
        log: what it wrote.
    """

    def __init__(
        self, name: str, command: list[str], port: int, log: Path, *, ready: str, environment: Mapping[str, str]
    ) -> None:
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.log = log
        self._ready = ready
        self.service = Service(name, command, log, environment)
        self.service.start()
        if self.service.process is None:
            raise StackError(f"{name} was not started")
        self.process: subprocess.Popen[bytes] = self.service.process
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=10.0)

    @property
    def ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return self.http.get(self._ready).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and what it started, politely if it listens to that."""
        self.http.close()
        self.service.stop()

    def __enter__(self) -> Self:
        """Return it; it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()


def start(
    name: str,
    command: Callable[[int], list[str]],
    log: Path,
    *,
    port: int | None = None,
    ready: str = "/-/ready",
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Start ``command(port)`` and wait until it answers ``ready`` with 200.

    ``port``: where somebody expects it; else it takes a free one.

    Raises:
        StackError: it ended, or did not answer in time; with the end of its log.
    """
    surroundings = dict(os.environ) if environment is None else environment
    for _ in range(1 if port else _TRIES):
        chosen = port or free_port()
        server = Server(name, command(chosen), chosen, log, ready=ready, environment=surroundings)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and server.process.poll() is None:
            if server.ready:
                return server
            time.sleep(0.05)
        server.close()
    raise StackError(f"{name} did not start; the end of {log}:\n{server.service.tail()}")


def start_tool(
    name: str, arguments: list[str], log: Path, *, port: int | None = None, ready: str = "/-/ready"
) -> Server:
    """Start one of the programs of ``scripts/debian_tools.sh``, which all take their address alike.

    Raises:
        StackError: it is not there, or did not start.
    """
    program = tool(name)
    if program is None:
        raise StackError(f"{name} not found: bash scripts/debian_tools.sh fetches it, or says why it can't")
    return start(
        name,
        lambda chosen: [str(program), *arguments, f"--web.listen-address=127.0.0.1:{chosen}"],
        log,
        port=port,
        ready=ready,
    )
