"""The log itself: what is appended is in a file soon, nothing waits for it, and what is lost is counted."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model_release.exposures import Exposure, NewOutcome, Outcome
from recommendation_api.exposure_file import being_written
from recommendation_api.exposure_log import ExposureLog
from tests.api.exposures import DAY_SECONDS, NOON, answer, at_most, files, logged, request_ids, settings_of
from tests.api.replica import wait_until


@contextmanager
def running(root: Path, **values: Any) -> Iterator[ExposureLog]:
    log = ExposureLog(settings_of(root, **values))
    log.start()
    try:
        yield log
    finally:
        log.stop()


def outcome(user: str = "u1") -> NewOutcome:
    return NewOutcome(at=dt.datetime(2026, 1, 11, tzinfo=dt.UTC), user=user, item="i1", type="purchase")


def test_an_answer_becomes_a_line_with_all_its_fields(tmp_path: Path) -> None:
    log = ExposureLog(settings_of(tmp_path), worker=2)
    log.append(answer())
    log.start()
    log.stop()
    (found,) = logged(tmp_path)
    assert found == Exposure(
        schema_version=1, kind="exposure", at=dt.datetime(2096, 1, 12, 12, tzinfo=dt.UTC), request_id="r-1",
        endpoint="recommend", id="用户三", k=10, run_id="run-a", variant="current", release_id=None, generation=3,
        items=("i1", "苹果"), known=True, degraded=None, latency_ms=0.2, replica="api-1", worker=2,
    )  # fmt: skip
    assert [path.name for path in files(tmp_path)] == ["api-1.2.20960112T120000Z.0.jsonl"]


def test_lines_are_in_the_file_while_it_is_open(tmp_path: Path) -> None:
    """Nobody has to stop for a reader to see them."""
    with running(tmp_path) as log:
        log.append(answer("a"))
        wait_until("the line is there", lambda: request_ids(tmp_path) == ["a"])
        log.append(answer("b"))
        wait_until("the next one is there", lambda: request_ids(tmp_path) == ["a", "b"])
    assert log.written == {"current": 2}


def test_stop_writes_all_that_waits(tmp_path: Path) -> None:
    """In the order in which it came, however many pieces that takes."""
    log = ExposureLog(settings_of(tmp_path))
    names = [f"r-{number}" for number in range(5000)]
    for name in names:
        log.append(answer(name))
    log.start()
    log.stop()
    assert request_ids(tmp_path) == names


def test_outcomes_go_to_the_same_log_by_the_day_on_which_they_came(tmp_path: Path) -> None:
    """What happened yesterday and came in today stands in today's file."""
    with running(tmp_path) as log:
        log.append(answer("shown"))
        assert log.take([outcome(), outcome("u2")], NOON + 1)
    shown, *done = logged(tmp_path)
    assert isinstance(shown, Exposure)
    assert [(one.user, one.at.day, one.received_at.day) for one in done if isinstance(one, Outcome)] == [
        ("u1", 11, 12),
        ("u2", 11, 12),
    ]
    assert len(files(tmp_path)) == 1
    assert log.written == {"current": 1, "event": 2}


def test_a_full_queue_drops_the_new_ones_and_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever appends never waits; the log speaks once, not once per record."""
    told: Counter[str] = Counter()
    log = ExposureLog(
        settings_of(tmp_path, exposure_queue=10), on_dropped=lambda reason, count: told.update({reason: count})
    )
    for number in range(25):
        log.append(answer(f"r-{number}"))
    assert log.take([outcome()], NOON) is False
    assert log.dropped == told == {"queue_full": 15}
    log.start()
    log.stop()
    assert request_ids(tmp_path) == [f"r-{number}" for number in range(10)]
    assert caplog.text.count("exposures are dropped: queue_full") == 1


def test_outcomes_are_taken_all_or_none(tmp_path: Path) -> None:
    log = ExposureLog(settings_of(tmp_path, exposure_queue=3))
    assert log.take([outcome()] * 4, NOON) is False
    assert log.take([outcome()] * 3, NOON) is True
    log.start()
    log.stop()
    assert len(logged(tmp_path)) == 3
    assert log.take([outcome()], NOON) is False  # nobody would write it any more


def test_one_odd_record_costs_no_other_one_its_line(tmp_path: Path) -> None:
    """A model may name what is no text at all."""
    with running(tmp_path) as log:
        log.append(answer("a"))
        log.append(answer("b", items=("\ud800",)))
        log.append(answer("c", at=float("nan")))
        log.append(answer("d"))
    assert request_ids(tmp_path) == ["a", "d"]
    assert log.dropped == {"invalid": 2}


def test_each_utc_day_has_a_file_of_its_own(tmp_path: Path) -> None:
    """A record that waited over midnight goes to the day on which it was made."""
    midnight = NOON + DAY_SECONDS / 2
    log = ExposureLog(settings_of(tmp_path))
    for number, at in enumerate((midnight - 0.5, midnight - 0.1, midnight, midnight + 0.1)):
        log.append(answer(f"r-{number}", at))
    log.start()
    log.stop()
    assert [(path.name, path.read_bytes().count(b"\n")) for path in files(tmp_path)] == [
        ("api-1.0.20960112T235959Z.0.jsonl", 2),
        ("api-1.0.20960113T000000Z.1.jsonl", 2),
    ]


def test_a_file_that_is_large_enough_is_followed_by_another(tmp_path: Path) -> None:
    """Every line is whole and none is lost at the change."""
    with running(tmp_path, exposure_file_megabytes=0.05) as log:
        for number in range(1000):
            log.append(answer(f"r-{number}"))
    sizes = [path.stat().st_size for path in files(tmp_path)]
    assert len(sizes) > 3
    assert all(50_000 <= size < 110_000 for size in sizes[:-1])
    assert request_ids(tmp_path) == [f"r-{number}" for number in range(1000)]


def test_no_process_goes_on_with_the_file_of_another(tmp_path: Path) -> None:
    """Also not when both have one name and begin in the same second."""
    for name in ("a", "b"):
        with running(tmp_path) as log:
            log.append(answer(name))
    with running(tmp_path) as first, running(tmp_path) as second:
        first.append(answer("c"))
        second.append(answer("d"))
    assert [path.read_bytes().count(b"\n") for path in files(tmp_path)] == [1, 1, 1, 1]
    assert sorted(name or "" for name in request_ids(tmp_path)) == ["a", "b", "c", "d"]


def test_without_answers_there_is_no_file(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    assert files(tmp_path) == []


def test_a_disk_that_refuses_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What waits is kept as long as it fits, the rest is dropped and counted; then everything goes on."""
    blocked = tmp_path / "data"
    blocked.write_bytes(b"in the way")
    with running(tmp_path, exposure_queue=5) as log:
        log.append(answer("kept"))
        wait_until("the disk has refused", lambda: log.failing)
        for number in range(8):
            log.append(answer(f"r-{number}"))
        assert log.take([outcome()], NOON) is False
        assert log.dropped == {"disk": 3}
        blocked.unlink()
        wait_until("the disk takes lines again", lambda: log.written["current"] == 6)
        assert log.failing is False
        assert log.take([outcome()], NOON) is True
    assert request_ids(tmp_path)[:6] == ["kept", *(f"r-{number}" for number in range(5))]
    assert caplog.text.count("can't be written") == 1
    assert caplog.text.count("are written again") == 1


def test_a_disk_that_is_full_in_the_middle_of_a_piece_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """What was written stays written; the rest goes to the next file, in order."""
    names = [f"r-{number}" for number in range(10)]
    with at_most(2000), running(tmp_path) as log:
        for name in names:
            log.append(answer(name))
        wait_until("all are written", lambda: log.written["current"] == len(names))
    assert request_ids(tmp_path) == names
    assert [path.stat().st_size <= 2000 for path in files(tmp_path)] == [True, True]


def test_stop_on_a_disk_that_refuses_counts_what_is_lost(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"in the way")
    with running(tmp_path) as log:
        for number in range(7):
            log.append(answer(f"r-{number}"))
    assert log.dropped == {"disk": 7}


def test_a_folder_that_was_taken_away_is_noticed(tmp_path: Path) -> None:
    """Nothing goes on into a file that nobody can find."""
    with running(tmp_path) as log:
        log.append(answer("a"))
        wait_until("the line is there", lambda: request_ids(tmp_path) == ["a"])
        shutil.rmtree(tmp_path / "data")

        def found() -> bool:
            log.append(answer("b"))
            return "b" in request_ids(tmp_path)

        wait_until("a new file is there", found)


def test_the_file_of_a_day_that_is_over_is_closed(tmp_path: Path) -> None:
    """Also when nothing more comes: whoever reads that day, or cleans up, finds it complete."""
    with running(tmp_path) as log:
        log.append(answer("yesterday", time.time() - DAY_SECONDS))
        wait_until("the line is there", lambda: request_ids(tmp_path) == ["yesterday"])
        (path,) = files(tmp_path)
        wait_until("the file is closed", lambda: not being_written(path))


def test_old_files_are_removed_when_one_is_begun(tmp_path: Path) -> None:
    """The limits of the settings, applied by the log itself."""
    folder = tmp_path / "data" / "exposures"
    folder.mkdir(parents=True)
    old = folder / "gone.0.20200101T000000Z.0.jsonl"
    old.write_bytes(b"{}\n")
    with running(tmp_path, exposure_keep_days=1) as log:
        wait_until("a first look has been taken", lambda: not old.exists())
        old.write_bytes(b"{}\n")
        log.append(answer("new"))
        wait_until("the next file removes it", lambda: not old.exists())
    assert request_ids(tmp_path) == ["new"]
