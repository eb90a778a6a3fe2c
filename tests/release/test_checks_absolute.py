"""The check ``absolute``."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from model_release.checks import absolute
from model_release.evidence import Evaluation, Metrics, Missing
from model_release.policy import AbsolutePolicy
from model_release.verdict import CheckResult, Verdict
from tests.gate_evidence import check, evidence, policy

GOOD = evidence()


def judged(value: float | None, users: int = 500, metric: str = "ndcg_at_10", **changes: object) -> list[CheckResult]:
    """Return the results for a run with this value."""
    wanted = {key: value for key, value in check("absolute", metric=metric, **changes).items() if value is not None}
    rule = policy(wanted).checks[0]
    assert isinstance(rule, AbsolutePolicy)
    assert isinstance(GOOD.evaluation, Evaluation)
    candidate = {} if value is None else {"ndcg_at_10": value}
    evaluation = GOOD.evaluation.model_copy(
        update={"metrics": Metrics.model_construct(candidate=candidate, current=None), "users": users}
    )
    return list(absolute.check(rule, replace(GOOD, evaluation=evaluation)))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.05, Verdict.PASS),
        (math.nextafter(0.05, 0), Verdict.FAIL),
        (-1.0, Verdict.FAIL),
        (math.nan, Verdict.ERROR),
        (math.inf, Verdict.ERROR),
        (None, Verdict.ERROR),
    ],
)
def test_a_floor(value: float | None, verdict: Verdict) -> None:
    """At the floor PASS, below FAIL, no number or not measured ERROR."""
    (result,) = judged(value)
    assert result.verdict is verdict


def test_a_ceiling_and_both() -> None:
    """Each limit has its own result."""
    (ceiling,) = judged(0.5, at_least=None, at_most=0.4)
    assert (ceiling.verdict, ceiling.direction, ceiling.limit) == (Verdict.FAIL, "at_most", 0.4)
    assert [result.verdict for result in judged(0.5, at_most=0.5)] == [Verdict.PASS, Verdict.PASS]
    assert [result.verdict for result in judged(0.6, at_most=0.5)] == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize("value", [0.0, 0.9])
def test_too_few_users_say_nothing(value: float) -> None:
    """Below the minimum sample neither a good nor a bad value counts; it says how many are missing."""
    (result,) = judged(value, users=99)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "1 more" in result.reason
    assert result.settled


def test_a_metric_of_the_catalogue() -> None:
    """``catalogue.`` names the metrics of whole lists; unknown names are errors that list what there is."""
    (result,) = judged(0.1, metric="catalogue.list_length", at_least=10)
    assert (result.verdict, result.value) == (Verdict.PASS, 100.0)
    for unknown in ("catalogue.ndcg_at_10", "other.coverage", "coverage", "catalog.coverage", ""):
        (result,) = judged(0.1, metric=unknown)
        assert result.verdict is Verdict.ERROR
        assert "catalogue.coverage" in result.reason


def test_without_an_evaluation_there_is_no_pass() -> None:
    """ERROR with the reason."""
    rule = policy(check("absolute")).checks[0]
    assert isinstance(rule, AbsolutePolicy)
    (result,) = absolute.check(rule, replace(GOOD, evaluation=Missing("of another run", settled=True)))
    assert (result.verdict, result.reason, result.settled) == (Verdict.ERROR, "of another run", True)
