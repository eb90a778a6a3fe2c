"""Programs that run beside each other, each in a process group of its own, each with its log."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20.0


class StackError(RuntimeError):
    """A service did not come up, or went down; the message shows the end of its log."""


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """One process group with its log."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    _file: IO[bytes] | None = None

    def start(self) -> None:
        """Start it in a session of its own, so that its children can be ended with it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.log.open("ab")
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environment),
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self, *, number: int = signal.SIGTERM) -> None:
        """End the whole process group; what does not go by itself is killed."""
        if self.process is None:
            return
        group = self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and _group_lives(self.process):
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self.process = None
        if self._file is not None:
            self._file.close()

    def check(self) -> None:
        """Raise ``StackError`` if it is not running."""
        if self.process is None or self.process.poll() is not None:
            raise StackError(f"{self.name} is not running; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(_group_members(process.pid))


def _group_members(group: int) -> Iterator[int]:
    """Return the processes of a group that are not zombies (Linux; elsewhere the group itself)."""
    proc = Path("/proc")
    if not proc.exists():
        yield group
        return
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] != "Z":
                    yield int(entry.name)
