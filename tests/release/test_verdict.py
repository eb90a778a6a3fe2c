"""Verdicts, and decisions that can't contradict themselves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_release.errors import InvalidInputError
from model_release.judge import judge
from model_release.verdict import CheckResult, Decision, Verdict, worst
from tests.gate_evidence import NOW, check, evidence, policy

VERDICTS = st.sampled_from(list(Verdict))


def test_fail_beats_error_beats_inconclusive_beats_pass() -> None:
    """For each pair, in either order."""
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.FAIL]
    for better, worse in itertools.combinations_with_replacement(order, 2):
        assert worst([better, worse]) is worst([worse, better]) is worse


@given(st.lists(VERDICTS, min_size=1), st.randoms(use_true_random=False), VERDICTS)
def test_neither_order_nor_repetition_matters_and_more_is_never_better(
    verdicts: list[Verdict], chance: object, another: Verdict
) -> None:
    """The worst of a set: shuffled or doubled the same, with one more never better."""
    shuffled = verdicts.copy()
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert worst(shuffled) is worst(verdicts) is worst(verdicts * 2)
    assert worst([*verdicts, another]).badness >= worst(verdicts).badness
    assert (worst(verdicts) is Verdict.PASS) == all(verdict is Verdict.PASS for verdict in verdicts)


def test_nothing_is_not_a_pass() -> None:
    """A gate that checked nothing raises."""
    with pytest.raises(InvalidInputError, match="nothing"):
        worst([])


def test_a_dry_run_reports_but_never_blocks() -> None:
    """Its verdict stays what it is; what counts is PASS."""
    result = CheckResult(check="a", kind="absolute", verdict=Verdict.FAIL, reason="bad", dry_run=True)
    assert result.verdict is Verdict.FAIL
    assert result.blocking is Verdict.PASS


@pytest.fixture
def decision() -> Decision:
    """Give a decision that passed."""
    return judge(policy(check("absolute")), evidence(), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": Verdict.FAIL},
        {"results": ()},
        {"generation": None},
        {"generation": -1},
        {"decided_at": NOW.replace(tzinfo=None)},
        {"evidence": {"a": "short"}},
        {"mood": "good"},
    ],
)
def test_a_decision_that_contradicts_its_results_does_not_exist(decision: Decision, change: dict[str, object]) -> None:
    """Nobody can write PASS over results that say otherwise, or pass without a generation to commit on."""
    with pytest.raises(ValidationError):
        Decision.model_validate({**decision.model_dump(), **change})


def test_a_result_can_not_be_turned_into_a_pass() -> None:
    """Changed from fail to pass in the stored file, the decision is refused on reading."""
    failed = judge(policy(check("absolute", at_least=0.99)), evidence(), NOW)
    text = failed.model_dump_json()
    assert Decision.model_validate_json(text) == failed
    with pytest.raises(ValidationError):
        Decision.model_validate_json(text.replace('"verdict":"fail"', '"verdict":"pass"', 1))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_pass_may_be_released(verdict: Verdict, decision: Decision) -> None:
    """``released`` is true for the one named value."""
    result = CheckResult(check="a", kind="absolute", verdict=verdict, reason="because")
    found = decision.model_copy(update={"verdict": verdict, "results": (result,)})
    assert found.released == (verdict is Verdict.PASS)


def test_no_number_of_a_result_is_nan() -> None:
    """NaN and infinity never get into a result."""
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            CheckResult(check="a", kind="b", verdict=Verdict.PASS, reason="", value=number)
