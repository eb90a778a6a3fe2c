"""The soak's own judgement, and a short one for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.soak.__main__ import BEGIN, END, PAGE, report
from tests.soak.growth import growth, held, leaks, processes, slope
from tests.soak.soak import run


def test_a_slope_is_that_of_the_line_whatever_a_few_points_do() -> None:
    values = [2.0 * place for place in range(20)]
    values[7] = 500.0
    assert slope(values) == pytest.approx(2.0)
    assert slope([5.0]) == 0.0


@pytest.mark.parametrize(
    ("values", "leaking"),
    [
        ([10.0] * 30, False),
        ([5.0, 8.0, 9.0] + [10.0] * 27, False),  # a pool that fills
        ([10.0, 16.0] * 15, False),  # up and down
        ([10.0 + place for place in range(30)], True),
        ([10.0 + place // 4 for place in range(30)], True),
        ([float("nan")] * 30, True),  # nothing was measured
    ],
)
def test_what_grows_round_by_round_is_a_leak(values: list[float], leaking: bool) -> None:
    assert bool(leaks({"replica 1 descriptors": values})) is leaking


def test_what_a_process_holds_is_seen(tmp_path: Path) -> None:
    """An open file, a thread and a mapped file of a run that is deleted."""
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "x.npy"
    np.save(path, np.zeros(10_000))
    program = (
        "import numpy, os, sys, threading\n"
        f"kept = numpy.load({str(path)!r}, mmap_mode='r'); os.unlink({str(path)!r}); file = open('/dev/null')\n"
        "threading.Thread(target=sys.stdin.read, daemon=True).start()\n"
        "print(kept[0], flush=True); threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = held(process.pid)
        assert processes(process.pid) == [process.pid]
        process.kill()
    assert found["gone_files"] == 1
    assert found["threads"] >= 2
    assert found["descriptors"] >= 4
    assert found["rss_mib"] > 5


def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    """Six rounds with real replicas; memory is left to the long one: the first rounds fill caches."""
    found = run(tmp_path, rounds=6, replicas=2, workers=1, say=lambda _: None)
    assert [one for one in found["problems"] if "rss_mib" not in one] == []
    assert (found["rollbacks"], found["lost"]) == (3, 0)
    assert found["pruned"] >= 6
    assert found["runs_that_answered"] >= 6
    assert "What was wrong" in report(found)


def test_the_page_has_a_place_for_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert growth([1.0, 1.0, 1.0]) == 0.0
