"""A full disk: said with the file and the missing bytes, nothing half appears, and it works when there is room."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_release.adapters.files import room_for, write_file
from model_release.adapters.run_store import RunStore
from model_release.paths import ReleasePaths
from tests.docs_pages import PROJECT

# Writes a run of 600 KB below the first argument; files may have as many bytes as the second says.
PROGRAM = """
import json, pathlib, resource, signal, sys
import numpy as np
from model_release.adapters import factors
from model_release.adapters.run_store import RunStore
from model_release.artifact import FactorsFormat
from model_release.paths import ReleasePaths
from tests.runs import manifest_of

store, serving = RunStore(ReleasePaths(pathlib.Path(sys.argv[1]))), FactorsFormat(exclude_seen=False)
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with store.staging("run-a") as folder:
        factors.write(
            folder,
            serving,
            user_ids=[f"u{row}" for row in range(100)],
            item_ids=[f"i{row}" for row in range(2_000)],
            user_factors=np.ones((100, 64), np.float32),
            item_factors=np.ones((2_000, 64), np.float32),
            popular=np.arange(10, dtype=np.int32),
        )
        (folder / "golden.jsonl").write_text('{"endpoint":"recommend","id":"nobody","k":1,"expected":["i0"]}')
        store.publish(manifest_of("run-a", serving, store.entries(folder)))
    print(json.dumps({"runs": store.run_ids()}))
except OSError as error:
    print(json.dumps({"errno": error.errno, "text": str(error), "file": error.filename}))
"""
ITEM_FACTORS = 128 + 2_000 * 64 * 4


def publish(root: Path, *limit: int) -> dict[str, object]:
    """Write and publish a run in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), *map(str, limit)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("limit", "name"), [(100, "users.arrow"), (20_000, "items.arrow"), (300_000, "item_factors.npy")]
)
def test_the_file_that_found_no_room_is_named_with_what_was_missing(tmp_path: Path, limit: int, name: str) -> None:
    """The kernel stops the write in the middle; nothing is left in models/ or staging; a retry publishes."""
    found = publish(tmp_path, limit)
    assert found["errno"] == errno.EFBIG
    assert str(found["file"]).endswith(f"staging/run-a/{name}")
    if name == "item_factors.npy":
        assert f"item_factors.npy needs {ITEM_FACTORS} bytes and {ITEM_FACTORS - limit} of them" in str(found["text"])
    assert [path.name for path in (tmp_path / "models").rglob("*")] == ["staging"]
    assert publish(tmp_path) == {"runs": ["run-a"]}
    RunStore(ReleasePaths(tmp_path)).verify("run-a")


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="this system lets nobody mount a small disk",
)
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """One of 400 KB, mounted for the test: no room for the factors, everything cleared; with more room it works."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "disk").mkdir()
    script = (
        "mount -t tmpfs -o size=400k none disk && $PYTHON program.py disk && find disk/models && df --output=used disk"
        " && mount -o remount,size=4m disk && $PYTHON program.py disk"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-ec", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, *left, _, used, published = done.stdout.splitlines()
    error = json.loads(refused)
    assert error["errno"] == errno.ENOSPC
    assert "No space left on device: item_factors.npy needs 512128 bytes" in error["text"]
    assert left == ["disk/models", "disk/models/staging"]
    assert int(used) == 0
    assert json.loads(published) == {"runs": ["run-a"]}


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    """A folder that is missing is not a full disk."""
    with pytest.raises(FileNotFoundError) as caught:
        write_file(tmp_path / "nothing" / "file", b"x")
    assert "room" not in str(caught.value)


def test_a_file_that_was_never_begun_lacks_all_of_its_bytes(tmp_path: Path) -> None:
    """Creating it may be what fails."""
    with pytest.raises(OSError, match="needs 7 bytes and 7 of them"), room_for(tmp_path / "file", 7):
        raise OSError(errno.EDQUOT, "quota")
