"""Real requests must get the answers of the run that was released."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.artifact import GoldenRequest
from model_release.contract import Answer
from model_release.errors import ArtifactInvalidError, InvalidInputError
from model_release.registry import Candidate, Current, Registry
from model_release.verification import objection, questions, serving_runs

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
CURRENT = Current(run_id="run-a", release_id="r1", since=NOW, generation=1)
ALLOWED = {"current": "run-a"}


def recorded(endpoint: str, identifier: str) -> GoldenRequest:
    return GoldenRequest.model_validate({"endpoint": endpoint, "id": identifier, "k": 3, "expected": ("i1",)})


def trial(mode: str) -> Registry:
    candidate = Candidate.model_validate(
        {"run_id": "run-b", "mode": mode, "rollout": 0.5, "release_id": "r2", "since": NOW, "generation": 2}
    )
    return Registry(generation=2, current=CURRENT, candidate=candidate)


def answer(**changes: Any) -> Answer:
    usual = {"run_id": "run-a", "variant": "current", "items": ("i1", "i2"), "known": True}
    return Answer.model_validate({**usual, **changes})


def test_questions_are_the_first_recorded_ones_for_users() -> None:
    """Similar items are left out; at least one is asked."""
    golden = [recorded("similar", "i1"), *(recorded("recommend", user) for user in ("u1", "u2", "u3"))]
    assert [question.id for question in questions(golden, 2)] == ["u1", "u2"]
    assert [question.id for question in questions(golden, 10)] == ["u1", "u2", "u3"]
    assert [question.id for question in questions(golden, 0)] == ["u1"]


def test_a_proof_without_questions_is_none() -> None:
    """Nothing recorded for users: an error, not a success."""
    for golden in ([], [recorded("similar", "i1")]):
        with pytest.raises(ArtifactInvalidError, match="no recorded requests for users"):
            questions(golden, 5)


def test_after_a_release_only_the_released_run_may_answer() -> None:
    """No candidate, no run from before."""
    assert serving_runs(Registry(generation=1, current=CURRENT), run_id="run-a", trial=False) == ALLOWED
    with pytest.raises(InvalidInputError, match="run 'run-b' is not current, run-a is"):
        serving_runs(Registry(generation=1, current=CURRENT), run_id="run-b", trial=False)
    with pytest.raises(InvalidInputError, match="no run is"):
        serving_runs(Registry(), run_id="run-a", trial=False)


def test_during_a_canary_both_runs_may_answer_and_in_a_shadow_only_the_current_one() -> None:
    """Users never see a shadow."""
    both = {"current": "run-a", "candidate": "run-b"}
    assert serving_runs(trial("canary"), run_id="run-b", trial=True) == both
    assert serving_runs(trial("shadow"), run_id="run-b", trial=True) == ALLOWED


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        (Registry(generation=1, current=CURRENT), "not on trial, no run is"),
        (trial("canary").model_copy(update={"current": None}), "not on trial"),
        (Registry(), "not on trial, no run is"),
    ],
)
def test_a_trial_that_is_not_desired_any_more_is_said(registry: Registry, said: str) -> None:
    """Somebody changed the registry since."""
    with pytest.raises(InvalidInputError, match=said):
        serving_runs(registry, run_id="run-b", trial=True)
    with pytest.raises(InvalidInputError, match="run 'run-c' is not on trial"):
        serving_runs(trial("canary"), run_id="run-c", trial=True)


def test_a_current_run_may_share_its_users_with_the_trial_of_another_release() -> None:
    """Verified again while the next run is on trial: in a canary some get that one; what it answers was not recorded."""
    allowed = serving_runs(trial("canary"), run_id="run-a", trial=False)
    assert allowed == {"current": "run-a", "candidate": "run-b"}
    assert serving_runs(trial("shadow"), run_id="run-a", trial=False) == ALLOWED
    other = Answer(run_id="run-b", variant="candidate", items=("x",), known=True)
    assert objection(other, allowed, expected=("a",)) is None
    assert objection(other, ALLOWED, expected=("a",)) is not None


def test_the_right_answer_meets_no_objection() -> None:
    """With and without a recorded one, from each variant that is allowed."""
    assert objection(answer(), ALLOWED) is None
    assert objection(answer(), ALLOWED, expected=["i1", "i2"]) is None
    both = {**ALLOWED, "candidate": "run-b"}
    assert objection(answer(variant="candidate", run_id="run-b"), both) is None


@pytest.mark.parametrize(
    ("changes", "expected", "said"),
    [
        ({"variant": "degraded", "degraded": "no_model"}, None, "degraded: no_model"),
        ({"variant": "degraded"}, None, "degraded: no reason given"),
        ({"degraded": "model_error"}, None, "degraded: model_error"),
        ({"run_id": "run-b"}, None, "variant current came from run run-b"),
        ({"run_id": None}, None, "variant current came from run None"),
        ({"variant": "candidate", "run_id": "run-b"}, None, "variant candidate came from run run-b"),
        ({"variant": "candidate"}, None, "variant candidate came from run run-a"),
        ({"items": ()}, None, "the answer is empty"),
        ({"items": ()}, (), "the answer is empty"),
        ({}, ("i2", "i1"), "recorded was ['i2', 'i1']"),
        ({}, ("i1",), "recorded was ['i1']"),
        ({}, ("i1", "i2", "i3"), "recorded was ['i1', 'i2', 'i3']"),
    ],
)
def test_a_wrong_answer_is_objected_to(changes: dict[str, Any], expected: tuple[str, ...] | None, said: str) -> None:
    """Degraded, of another run, empty, or not what was recorded: order and length count."""
    found = objection(answer(**changes), ALLOWED, expected=expected)
    assert found is not None
    assert said in found
