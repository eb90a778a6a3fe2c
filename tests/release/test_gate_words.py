"""What a commit stands on: the gate's last words, and how far the release is."""

from __future__ import annotations

import pytest

from model_release.contract import Mode
from model_release.errors import GateMissingError, IllegalMoveError
from model_release.gate_words import passed_at
from model_release.ledger import Event, LedgerEntry
from tests.release.words import FAIL, FAIL_ONLINE, PASS, PASS_ONLINE, entry


def test_only_the_gates_last_word_on_this_run_counts() -> None:
    """A PASS for another run or release, or one that was taken back, is no PASS."""
    assert passed_at([PASS], release_id="r1", run_id="run-b") == 3
    with pytest.raises(GateMissingError, match="never judged"):
        passed_at([PASS], release_id="r1", run_id="run-c")
    with pytest.raises(GateMissingError, match="never judged"):
        passed_at([PASS], release_id="r2", run_id="run-b")
    with pytest.raises(GateMissingError, match="last verdict before a trial is 'fail'"):
        passed_at([PASS, FAIL], release_id="r1", run_id="run-b")
    assert passed_at([FAIL, PASS], release_id="r1", run_id="run-b") == 3


def test_a_trial_stands_on_the_word_before_it() -> None:
    """What the gate said on a trial is not what a trial needs, and does not stand in the way of another one."""
    modes: tuple[Mode, ...] = ("shadow", "canary")
    for mode in modes:
        assert passed_at([PASS, FAIL_ONLINE], release_id="r1", run_id="run-b", mode=mode) == 3
        assert passed_at([FAIL_ONLINE, PASS], release_id="r1", run_id="run-b", mode=mode) == 3
        with pytest.raises(GateMissingError, match="never judged it before a trial"):
            passed_at([PASS_ONLINE], release_id="r1", run_id="run-b", mode=mode)
        with pytest.raises(GateMissingError, match="last verdict before a trial is 'fail'"):
            passed_at([FAIL, PASS_ONLINE], release_id="r1", run_id="run-b", mode=mode)


def test_a_run_becomes_current_on_the_last_word_of_each_stage() -> None:
    """Neither stage's PASS outweighs the other's no; the commit builds on what was judged last."""
    assert passed_at([PASS, PASS_ONLINE], release_id="r1", run_id="run-b") == 4
    assert passed_at([PASS, FAIL_ONLINE, PASS_ONLINE], release_id="r1", run_id="run-b") == 4
    assert passed_at([PASS_ONLINE, PASS], release_id="r1", run_id="run-b") == 3
    assert passed_at([PASS_ONLINE], release_id="r1", run_id="run-b") == 4
    with pytest.raises(GateMissingError, match="last verdict on trial is 'fail'"):
        passed_at([PASS, FAIL_ONLINE], release_id="r1", run_id="run-b")
    with pytest.raises(GateMissingError, match="last verdict on trial is 'fail'"):
        passed_at([FAIL_ONLINE, PASS], release_id="r1", run_id="run-b")
    with pytest.raises(GateMissingError, match="last verdict before a trial is 'fail'"):
        passed_at([PASS, FAIL, PASS_ONLINE], release_id="r1", run_id="run-b")


SHADOW = [PASS, entry(Event.COMMITTED, mode="shadow", rollout=0.1, generation=4)]
CANARY = [
    *SHADOW,
    PASS_ONLINE,
    entry(Event.COMMITTED, mode="canary", rollout=0.05, generation=5),
    entry(Event.GATE_DECIDED, verdict="pass", stage="online", generation=5),
]


def step(entries: list[LedgerEntry], mode: Mode, rollout: float) -> int:
    return passed_at(entries, release_id="r1", run_id="run-b", mode=mode, rollout=rollout)


def test_the_next_step_stands_on_the_pass_of_the_trial_under_way() -> None:
    """From shadow to canary to more users; each builds on the generation of the trial that passed."""
    assert step([*SHADOW, PASS_ONLINE], "canary", 0.05) == 4
    assert step(CANARY, "canary", 0.25) == 5
    assert passed_at(CANARY, release_id="r1", run_id="run-b") == 5


def test_the_next_step_waits_for_the_word_on_the_trial_under_way() -> None:
    """No word yet, or one that is not PASS: the words before the trial are not enough."""
    with pytest.raises(GateMissingError, match=r"has not judged the trial under way, shadow at 0\.1"):
        step(SHADOW, "canary", 0.05)
    with pytest.raises(GateMissingError, match="last verdict on trial is 'fail'"):
        step([*SHADOW, FAIL_ONLINE], "canary", 0.05)


@pytest.mark.parametrize(("mode", "rollout"), [("shadow", 0.1), ("shadow", 0.5), ("canary", 0.05), ("canary", 0.01)])
def test_a_repeated_task_does_not_go_back_to_an_earlier_step(mode: Mode, rollout: float) -> None:
    """A zombie of the shadow step, after the canary passed."""
    with pytest.raises(IllegalMoveError, match=r"is at canary at 0\.05 since generation 5"):
        step(CANARY, mode, rollout)


def test_a_release_cleared_from_its_gate_on_begins_anew() -> None:
    """The gate before trials spoke again since, or the trial was ended."""
    again = PASS.model_copy(update={"generation": 5, "reason": "again"})
    assert step([*CANARY, again], "shadow", 0.1) == 5
    ended = entry(Event.TRIAL_ENDED, generation=6)
    assert step([*CANARY, ended], "shadow", 0.1) == 3
    assert step([*CANARY, ended, PASS.model_copy(update={"generation": 6})], "shadow", 0.1) == 6
