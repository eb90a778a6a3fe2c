"""The folder that workers share: who is there, and what is left of replicas that were killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_release.errors import ConfigurationError, StateBusyError
from recommendation_api.runtime import Runtime

_HOLD = """
import sys, pathlib
from recommendation_api.runtime import Runtime
with Runtime(pathlib.Path(sys.argv[1]), 2).occupied_by_me(1):
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runtime folders are made below this one; pytest's own has too long a path for a socket."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def test_the_folder_is_private_and_goes_at_the_end(short_folder: Path) -> None:
    with Runtime.make(2) as runtime:
        assert stat.S_IMODE(runtime.folder.stat().st_mode) == 0o700
        assert runtime.metrics.is_dir()
    assert list(short_folder.iterdir()) == []


def test_a_slot_is_free_as_soon_as_its_process_is_dead() -> None:
    """However it ended: nobody has to clean up after it."""
    with Runtime.make(2) as runtime:
        command = [sys.executable, "-c", _HOLD, str(runtime.folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            assert runtime.occupied(1)
            assert not runtime.occupied(0)
            with pytest.raises(StateBusyError, match="slot 1"), runtime.occupied_by_me(1):
                pass
            process.kill()
        assert not runtime.occupied(1)


def test_one_change_at_a_time() -> None:
    with Runtime.make(2) as runtime, runtime.changing(seconds=0):
        other = Runtime(runtime.folder, 2)
        with pytest.raises(StateBusyError, match="retry"), other.changing(seconds=0):
            pass


def test_what_a_killed_replica_left_is_removed(short_folder: Path) -> None:
    """But neither that of one whose worker still lives, nor one that is younger than a minute, nor anybody else's."""
    long_ago = time.time() - 120
    for name in ("dead", "alive", "young"):
        folder = short_folder / f"recommendation-api-{name}"
        folder.mkdir()
        (folder / "replica.alive").touch()
        (folder / "worker-0.alive").touch()
        if name != "young":
            os.utime(folder, (long_ago, long_ago))
    (short_folder / "recommendation-api-notes").mkdir()
    os.utime(short_folder / "recommendation-api-notes", (long_ago, long_ago))
    with Runtime(short_folder / "recommendation-api-alive", 1).occupied_by_me(0), Runtime.make(1) as made:
        left = {path.name for path in short_folder.iterdir()} - {made.folder.name}
    assert left == {"recommendation-api-alive", "recommendation-api-young", "recommendation-api-notes"}


def test_a_path_too_long_for_a_socket_says_what_to_set(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = short_folder / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(ConfigurationError, match="TMPDIR"), Runtime.make(2):
        pass
    assert list(deep.iterdir()) == []
