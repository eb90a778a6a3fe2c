"""The soak's own judgement, and a short one for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.services import Service, family
from tests import monitoring
from tests.api.replica import wait_until
from tests.soak import in_airflow
from tests.soak.__main__ import PAGE, in_airflow_report, report
from tests.soak.growth import IN_AIRFLOW, KINDS, growth, held, leaks, slope
from tests.soak.in_airflow import AirflowSoak
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


def test_a_series_may_have_a_limit_of_its_own() -> None:
    """Of Airflow's, what grows by design is shown, and no leak; all else is judged by its kind."""
    rising = [float(place) for place in range(30)]
    series = {"database rows": rising, "scheduler threads": rising}
    assert leaks(series, IN_AIRFLOW) == ["scheduler threads grew by 20.0, allowed are 1"]
    assert leaks({"models runs": [place / 10 for place in range(30)]}, IN_AIRFLOW) == []
    assert leaks({"models runs": [place / 10 for place in range(30)]}) != []


def test_processes_of_tasks_are_not_part_of_what_a_service_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is young comes and goes; one that stays is counted, however it came about."""
    program = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    service = Service("service", [sys.executable, "-c", program], tmp_path / "log", {})
    soak = AirflowSoak(None, None)  # type: ignore[arg-type]  # neither is asked
    service.start()
    try:
        wait_until("both run", lambda: service.log.read_text().endswith("\n"))
        for name, old_seconds in (("young", 3600.0), ("old", 0.0)):
            monkeypatch.setattr(in_airflow, "_OLD_SECONDS", old_seconds)
            soak._note_processes(name, service, KINDS[:3])
    finally:
        service.stop()
    assert soak.series["young threads"] == [0]
    assert soak.series["old threads"] == [2]
    assert soak.series["old rss_mib"][0] > 5


def test_what_was_found_in_airflow_is_told() -> None:
    """With what is allowed, and without a number where growth is by design."""
    found = {
        "rounds": 3, "rollbacks": 1, "pruned": 2, "workers": 2, "seconds": 30.0, "slowest": 12.0, "load": "load 1.0",
        "answered": 100, "lost": 0, "runs_that_answered": 4,
        "series": {"scheduler threads": [3.0, 3.0, 3.0], "database rows": [1.0, 2.0, 3.0]},
        "problems": ["round 2: broken"],
    }  # fmt: skip
    text = in_airflow_report(found, trivial=False)
    assert "| scheduler threads | 3.0 | 3.0 | 3.0 | 3.0 | 0.0 | 1 |" in text
    assert "| database rows | 1.0 | 2.0 | 3.0 | 3.0 | 2.0 | by design |" in text
    assert text.endswith("- round 2: broken")
    assert "requests" not in in_airflow_report(found, trivial=True)


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
        assert family(process.pid) == [process.pid]
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


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("trivial", [False, True])
def test_a_short_soak_through_airflow_loses_nothing(tmp_path: Path, trivial: bool) -> None:
    """Two rounds; whether anything grows is left to the long one."""
    monitoring.need("postgres", "initdb")
    found = in_airflow.run(tmp_path, rounds=2, minutes=15.0, trivial=trivial, say=lambda _: None)
    assert [one for one in found["problems"] if " grew by " not in one] == []
    assert (found["rounds"], found["rollbacks"], found["lost"]) == (2, 0 if trivial else 1, 0)
    assert {len(values) for values in found["series"].values()} == {2}
    assert all(found["series"][f"{name} threads"][0] >= 1 for name in ("scheduler", "triggerer", "API server"))


@pytest.mark.parametrize("part", ["soak", "airflow", "trivial"])
def test_the_page_has_a_place_for_the_tables(part: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(f"<!-- {part}: begin -->") == text.count(f"<!-- {part}: end -->") == 1
    assert growth([1.0, 1.0, 1.0]) == 0.0
