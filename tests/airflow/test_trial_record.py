"""Where a trial stands is kept when its verdict changes, else now and then, and never over a later word."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from model_release.adapters.decisions import read_decision, write_decision
from model_release.paths import ReleasePaths
from model_release.verdict import CheckResult, Decision, Verdict
from model_release_airflow.trial_record import TrialRecord

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def decided(verdict: Verdict, seconds: float) -> Decision:
    at = NOW + dt.timedelta(seconds=seconds)
    return Decision(
        stage="online",
        verdict=verdict,
        run_id="new",
        against="old",
        no_baseline=False,
        release_id="r1",
        generation=2,
        decided_at=at,
        measured_at=at,
        policy_name="test",
        policy_sha256="0" * 64,
        code_version="1",
        results=(CheckResult(check="x", kind="query", verdict=verdict, reason="why"),),
        summary="why",
    )


def kept_at(paths: ReleasePaths) -> float:
    kept = read_decision(paths, "r1")
    assert kept is not None
    return (kept.decided_at - NOW).total_seconds()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("model_release_airflow.trial_record.time.monotonic", lambda: now[0])
    return now


def test_it_is_kept_at_changes_and_every_fifteen_seconds(tmp_path: Path, clock: list[float]) -> None:
    paths = ReleasePaths(tmp_path)
    record = TrialRecord(paths)
    story = [
        (0, Verdict.INCONCLUSIVE, True),
        (5, Verdict.INCONCLUSIVE, False),
        (10, Verdict.ERROR, True),
        (20, Verdict.ERROR, False),
        (25, Verdict.ERROR, True),
        (26, Verdict.INCONCLUSIVE, True),
    ]
    for seconds, verdict, kept in story:
        clock[0] = 1000.0 + seconds
        assert record.keep(decided(verdict, seconds)) is kept, seconds
        assert (kept_at(paths) == seconds) is kept


def test_a_later_word_stays(tmp_path: Path) -> None:
    """The worker has decided; a trigger that runs twice comes late."""
    paths = ReleasePaths(tmp_path)
    write_decision(paths, decided(Verdict.PASS, 10))
    assert not TrialRecord(paths).keep(decided(Verdict.INCONCLUSIVE, 9))
    assert kept_at(paths) == 10


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    paths = ReleasePaths(tmp_path)
    file = write_decision(paths, decided(Verdict.PASS, 0))
    file.write_text("{")
    assert TrialRecord(paths).keep(decided(Verdict.INCONCLUSIVE, 1))
    assert kept_at(paths) == 1


def test_a_disk_that_is_full_ends_no_trial(tmp_path: Path) -> None:
    """A file where the folder should be: not kept, and kept as soon as it can be."""
    paths = ReleasePaths(tmp_path)
    paths.decisions.parent.mkdir(parents=True)
    paths.decisions.touch()
    record = TrialRecord(paths)
    assert not record.keep(decided(Verdict.INCONCLUSIVE, 0))
    paths.decisions.unlink()
    assert record.keep(decided(Verdict.INCONCLUSIVE, 1))
