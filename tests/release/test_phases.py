"""Where a release stands is read from the ledger; only the moves of the table are allowed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from model_release.adapters.file_ledger import FileLedger
from model_release.errors import IllegalMoveError
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.phases import MOVES, Phase, check_move, may_stay, phase_of, record
from tests.release.words import FAIL, FAIL_ONLINE, PASS, PASS_ONLINE, TRIAL, entry


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ([], Phase.OPEN),
        ([entry(Event.REGISTERED)], Phase.OPEN),
        ([PASS], Phase.PASSED),
        ([FAIL], Phase.OPEN),
        ([FAIL, entry(Event.REJECTED)], Phase.REJECTED),
        ([FAIL, entry(Event.REJECTED), PASS], Phase.PASSED),
        ([PASS, entry(Event.FAILED)], Phase.FAILED),
        ([PASS, entry(Event.COMMITTED)], Phase.COMMITTED),
        ([PASS, entry(Event.COMMITTED), entry(Event.FAILED)], Phase.COMMITTED),
        ([PASS, entry(Event.COMMITTED), PASS], Phase.COMMITTED),
        ([PASS, entry(Event.COMMITTED), entry(Event.RELEASED)], Phase.PROVED),
        ([PASS, entry(Event.COMMITTED), entry(Event.RELEASED), entry(Event.VERIFIED)], Phase.VERIFIED),
        ([PASS, entry(Event.COMMITTED), entry(Event.TRIAL_STARTED)], Phase.PROVED),
        ([PASS, entry(Event.COMMITTED), entry(Event.PUT_BACK)], Phase.PUT_BACK),
        ([PASS, entry(Event.COMMITTED), entry(Event.PUT_BACK), entry(Event.FAILED)], Phase.PUT_BACK),
        ([PASS, entry(Event.NOTIFIED)], Phase.PASSED),
        ([*TRIAL, FAIL_ONLINE, entry(Event.REJECTED)], Phase.PROVED),
        ([*TRIAL, entry(Event.VERIFIED), FAIL_ONLINE, entry(Event.REJECTED)], Phase.VERIFIED),
        ([*TRIAL, FAIL_ONLINE, entry(Event.REJECTED), entry(Event.TRIAL_ENDED)], Phase.PUT_BACK),
    ],
)
def test_phase_is_what_the_last_moving_entry_says(events: list[LedgerEntry], phase: Phase) -> None:
    """Failures and new verdicts do not hide what is in force; other releases do not matter."""
    other = [entry(Event.COMMITTED, release_id="r2"), entry(Event.PUT_BACK, release_id="r2")]
    assert phase_of([*other, *events, *other], "r1") is phase


def test_every_phase_has_its_moves_and_every_phase_can_be_reached() -> None:
    """The table is complete: no phase without a way out, none that nothing leads to."""
    assert set(MOVES) == set(Phase)
    reached = {Phase.OPEN}
    for length in (1, 2, 3, 4):
        for events in itertools.permutations(
            [PASS, *(entry(event) for event in Event if event is not Event.GATE_DECIDED)], length
        ):
            reached.add(phase_of(events, "r1"))
        if reached == set(Phase):
            break
    assert reached == set(Phase)


def test_nothing_is_called_released_that_was_not_committed(tmp_path: Path) -> None:
    """A proof without a commit is an illegal move, and leaves no trace."""
    ledger = FileLedger(ReleasePaths(tmp_path))
    record(ledger, PASS)
    with pytest.raises(IllegalMoveError, match="'r1' is passed: released can't follow"):
        record(ledger, entry(Event.RELEASED))
    assert [known.event for known in ledger.read()] == [Event.GATE_DECIDED]


def test_a_rejected_release_can_not_be_committed_until_the_gate_passes_it() -> None:
    """A cleared reload task after a rejection does not slip through."""
    rejected = [FAIL, entry(Event.REJECTED)]
    with pytest.raises(IllegalMoveError, match="rejected: committed can't follow"):
        check_move(rejected, "r1", Event.COMMITTED)
    check_move([*rejected, PASS], "r1", Event.COMMITTED)


def test_a_repeated_fact_is_no_news(tmp_path: Path) -> None:
    """A retried task reports what it did once."""
    ledger = FileLedger(ReleasePaths(tmp_path))
    assert record(ledger, PASS)
    assert not record(ledger, PASS.model_copy(update={"by": "retry"}))
    assert len(ledger.read()) == 1


@pytest.mark.parametrize("at", [Phase.COMMITTED, Phase.PROVED, Phase.VERIFIED, Phase.PUT_BACK])
def test_a_trial_can_be_rejected_whenever_it_is_under_way_or_was(at: Phase) -> None:
    """Committed only, proved, verified, or already ended by its lease: the gate may always say no."""
    assert Event.REJECTED in MOVES[at]


VERIFIED = entry(Event.VERIFIED)
REJECTED = entry(Event.REJECTED)
PRIMARY = [PASS, entry(Event.COMMITTED, mode="primary"), entry(Event.RELEASED, mode="primary")]


@pytest.mark.parametrize(
    ("events", "stays"),
    [
        ([], False),
        (PRIMARY, False),
        ([*PRIMARY, VERIFIED], True),
        ([*PRIMARY, VERIFIED, entry(Event.FAILED)], True),
        ([*PRIMARY, VERIFIED, FAIL, REJECTED], True),
        ([*PRIMARY, VERIFIED, entry(Event.PUT_BACK)], False),
        (TRIAL, False),
        ([*TRIAL, VERIFIED], True),
        ([*TRIAL, VERIFIED, PASS_ONLINE], True),
        ([*TRIAL, VERIFIED, FAIL_ONLINE, REJECTED], False),
        ([*TRIAL, VERIFIED, entry(Event.FAILED)], False),
        ([*TRIAL, VERIFIED, entry(Event.TRIAL_ENDED)], False),
        ([*TRIAL, VERIFIED, FAIL_ONLINE, REJECTED, PASS_ONLINE, VERIFIED], True),
        ([*TRIAL, VERIFIED, PASS_ONLINE, *PRIMARY[1:]], False),
        ([*TRIAL, VERIFIED, PASS_ONLINE, *PRIMARY[1:], VERIFIED, entry(Event.FAILED)], True),
    ],
)
def test_what_may_stay_when_a_release_ends(events: list[LedgerEntry], stays: bool) -> None:
    """A verified current run stays; a verified trial only if it was neither rejected nor failed since."""
    other = [entry(Event.REJECTED, release_id="r2"), entry(Event.TRIAL_ENDED, release_id="r2")]
    assert may_stay([*events, *other], "r1") is stays
