"""Programs that run beside each other, each in a process group of its own, each with its log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20.0
PORTS = range(15_000, 32_000)  # below those that systems give to outgoing connections and to "any port"
_kept: list[int] = []  # open files: a port is this process's as long as its file is open


class StackError(RuntimeError):
    """A service did not come up, or went down; the message shows the end of its log."""


def free_port(among: Sequence[int] = PORTS) -> int:
    """Return a TCP port of loopback that nothing listens on, and that nobody else is given while this process lives.

    Raises:
        StackError: none of them is free.
    """
    for port in random.sample(among, len(among)):
        if _nothing_listens(port) and _keep(port):
            return port
    raise StackError(f"none of {len(among)} ports is free")


def _nothing_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections don't matter
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _keep(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _kept.append(file)
    return True


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


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first, whatever groups they are in: what a control group would hold."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:  # it grows meanwhile
        found += children.get(one, [])
    return found


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
