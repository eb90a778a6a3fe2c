"""Programs beside each other: what was started is ended, with all its children."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.services import PROJECT, Service, StackError, free_port

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_text(file: Path) -> str:
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file.read_text()


def test_children_end_with_their_service(tmp_path: Path) -> None:
    service = Service("parent", [sys.executable, "-c", PARENT], tmp_path / "log", os.environ)
    service.start()
    try:
        child = int(wait_for_text(tmp_path / "log"))
        assert lives(child)
        service.check()
    finally:
        service.stop()
    assert not lives(child)


def test_a_service_that_died_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = Service(
        "broken", [sys.executable, "-c", "raise SystemExit('no luck today')"], tmp_path / "log", os.environ
    )
    service.start()
    assert service.process is not None
    service.process.wait(timeout=20)
    with pytest.raises(StackError, match="no luck today"):
        service.check()
    service.stop()


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    service = Service("short", [sys.executable, "-c", "pass"], tmp_path / "log", os.environ)
    service.start()
    service.stop()
    service.stop()


ANOTHER = "import sys; from scripts.services import free_port; print(free_port([int(port) for port in sys.argv[1:]]))"


def another(*ports: int) -> subprocess.CompletedProcess[str]:
    """Let another process ask for one of these ports."""
    command = [sys.executable, "-c", ANOTHER, *map(str, ports)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()


def test_a_port_is_nobody_elses() -> None:
    """Two processes that both start a service on "a free port" would talk to each other's."""
    mine, theirs = free_port(), free_port()
    assert mine != theirs
    refused = another(mine, theirs)
    assert refused.returncode == 1
    assert "none of 2 ports is free" in refused.stderr
    given = another(mine, mine + 1, mine + 2, mine + 3)
    assert given.returncode == 0, given.stderr
    assert int(given.stdout) in range(mine + 1, mine + 4)


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(StackError, match="none of 1 ports"):
            free_port([listener.getsockname()[1]])
