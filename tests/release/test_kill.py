"""Writers that are killed at any moment: neither registry nor ledger is ever torn, and nothing promised is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_writers.py")
ROOT = Path(__file__).parents[2]
KILLS = 250


@pytest.mark.parametrize("kind", ["registry", "ledger"])
def test_hundreds_of_kills_tear_nothing_and_lose_nothing(kind: str, tmp_path: Path) -> None:
    """With several writers at once: every read is whole, and every acknowledged write is there, once."""
    done = subprocess.run(
        [sys.executable, PROGRAM, kind, tmp_path, str(KILLS), "20260105"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    count = json.loads(done.stdout)
    assert count["kills"] >= KILLS
    assert count["acknowledged"] > KILLS / 4, "the writers hardly wrote: the kills prove nothing"
    assert count["reads"] > KILLS
    if kind == "registry":
        assert count["leftovers"] > 0, "no kill came between writing and renaming: they prove nothing"
