"""The benchmarks of reloads in short: they run, find nothing wrong here, and would find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kill_workers, reload_under_load
from benchmarks.changes import Change, Seen
from benchmarks.kill_workers import Chaos

pytestmark = pytest.mark.slow


def test_reloads_under_load_lose_nothing_and_leave_nothing_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0 says so; the picture is there, with a tick for each reload."""
    picture = tmp_path / "picture.svg"
    status = reload_under_load.main(
        [
            *["--rate", "100", "--reloads", "6", "--every", "0.3", "--phase", "3", "--users", "500", "--cache"],
            str(tmp_path / "cache"),
            "--picture",
            str(picture),
        ]
    )
    said = capsys.readouterr().out
    assert "lost 0 {}, degraded 0, of the old run after the 200 0" in said, said
    assert status == 0
    assert picture.read_text(encoding="utf-8").count('stroke="#555"') == 6


def test_killed_workers_break_their_own_connections_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few kills among reloads."""
    status = kill_workers.main(["--seconds", "8", "--every", "2.5", "--rate", "50", "--cache", str(tmp_path / "cache")])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "| failed otherwise | 0 |" in said
    assert "| workers killed | 3 in 8 s, of 3 |" in said


@pytest.mark.parametrize(
    ("failure", "explained"),
    [
        ((9.9, 10.1, "closed"), True),
        ((10.1, 10.2, "closed"), True),  # taken by the process while it ended
        ((8.0, 9.9, "closed"), False),  # nobody had been killed yet
        ((10.5, 10.6, "closed"), False),  # sent when that was over
        ((9.9, 10.1, "refused"), False),
        ((9.9, 15.0, "timeout"), False),
        ((9.9, 10.1, "status 500"), False),
    ],
)
def test_only_a_connection_that_broke_with_a_kill_is_explained(
    failure: tuple[float, float, str], explained: bool
) -> None:
    chaos = Chaos(kills=[10.0], failed=[failure])
    assert (chaos.unexplained() == []) == explained


def test_a_stale_answer_ends_the_benchmark_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """One is enough; so is a reload that was refused, and a replica that does not converge."""
    options = kill_workers.options_of([])
    good = Chaos(changes=[Change(1.0, 2.0, "run-b", 200)], seen=[Seen(3.0, 3.1, "run-b")])
    assert kill_workers.report(good, 0.1, options) == 0
    assert kill_workers.report(good, None, options) == 1
    good.refused.append("409 latched")
    assert kill_workers.report(good, 0.1, options) == 1
    old = Chaos(changes=good.changes, seen=[Seen(3.0, 3.1, "run-a")])
    assert kill_workers.report(old, 0.1, options) == 1
    assert "| stale answers | 1 of 1 |" in capsys.readouterr().out
