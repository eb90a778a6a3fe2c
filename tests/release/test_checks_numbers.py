"""The checks ``sample_ratio`` and ``query``: numbers of now."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model_release.checks import query, sample_ratio
from model_release.checks.trials import TrialView
from model_release.evidence import ARMS, Arm, Missing, NumberQuery, Point, Points, Scrape
from model_release.policy import QueryPolicy, SampleRatioPolicy
from model_release.verdict import CheckResult, Verdict
from tests.online_evidence import of_users, online_policy, trial, view, with_numbers

USERS = {arm: NumberQuery(f'users{{variant="{arm}"}}') for arm in ARMS}


def judged(found: TrialView) -> CheckResult:
    rule = found.policy.checks[0]
    if isinstance(rule, SampleRatioPolicy):
        (result,) = sample_ratio.check(rule, found)
    else:
        assert isinstance(rule, QueryPolicy)
        (result,) = query.check(rule, found)
    return result


def users(candidate: list[float], current: list[float], **changes: object) -> TrialView:
    """Return a trial with a rollout of 10 % and so many users at each of two replicas."""
    return of_users(online_policy("sample_ratio", **changes), {"candidate": candidate, "current": current})


@pytest.mark.parametrize(
    ("candidate", "current", "verdict"),
    [
        ([100, 110], [900, 890], Verdict.PASS),
        ([150, 150], [850, 850], Verdict.FAIL),
        ([50, 50], [950, 950], Verdict.FAIL),
        ([0, 0], [500, 500], Verdict.FAIL),
        ([3, 2], [40, 50], Verdict.INCONCLUSIVE),
        ([0, 0], [0, 0], Verdict.INCONCLUSIVE),
        ([90, 0], [0, 0], Verdict.FAIL),  # fewer than the minimum, but proved
        ([100, 200], [900, 800], Verdict.FAIL),  # one replica is enough
    ],
)
def test_the_share_of_users(candidate: list[float], current: list[float], verdict: Verdict) -> None:
    result = judged(users(candidate, current))
    assert result.verdict is verdict, result.reason
    assert (result.details["log_e"] >= result.details["log_e_needed"]) == (verdict is Verdict.FAIL)
    assert result.samples == sum(candidate) + sum(current)


def test_too_few_users_say_how_many_more_and_when() -> None:
    result = judged(users([3, 2], [20, 25]))
    assert "50 users, at least 100 are needed: 50 more, which may be at 2026-01-13 12:" in result.reason


def test_errors_of_the_estimates_are_no_mismatch() -> None:
    """0.25 % off, of many users, is within three standard errors of the estimates; 1 % off is not."""
    many = 4e8
    assert judged(users([many * 0.1 * 1.0025] * 2, [many * 0.9] * 2)).verdict is Verdict.PASS
    assert judged(users([many * 0.1 * 1.01] * 2, [many * 0.9] * 2)).verdict is Verdict.FAIL


def test_the_further_from_the_rollout_the_worse() -> None:
    order = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
    for sign in (1, -1):
        found = [order[judged(users([200 + sign * off] * 2, [1800 - sign * off] * 2)).verdict] for off in range(200)]
        assert found == sorted(found)
        assert set(found) == {0, 2}


@pytest.mark.parametrize("rollout", [0.0, 1.0, math.nan])
def test_with_one_arm_there_is_nothing_to_compare(rollout: float) -> None:
    found = replace(users([100, 100], [900, 900]), trial=replace(trial(), rollout=rollout))
    assert judged(found).verdict is Verdict.ERROR


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda points: points[1:], "counts no users of the"),
        (lambda points: (*points, points[0]), "several series of one replica"),
        (lambda _: (), "no series"),
        (lambda points: (replace(points[0], value=math.nan), points[1]), "the value is nan"),
        (lambda points: (replace(points[0], value=math.inf), points[1]), "the value is inf"),
        (lambda points: (replace(points[0], value=-1.0), points[1]), "no number of users"),
        (lambda points: (replace(points[0], value=1e300), points[1]), "no number of users"),
        (lambda points: (replace(points[0], at=points[0].at - 100.0), points[1]), "101 seconds old"),
        (lambda points: (replace(points[0], at=points[0].at + 100.0), points[1]), "-99 seconds old"),
    ],
)
def test_what_is_no_number_of_users_is_an_error(arm: Arm, change: Any, reason: str) -> None:
    good = users([100, 100], [900, 900])
    points = good.online.numbers[USERS[arm]]
    assert isinstance(points, Points)
    result = judged(with_numbers(good, {**good.online.numbers, USERS[arm]: Points(change(points.points))}))
    assert result.verdict is Verdict.ERROR
    assert reason in result.reason


def test_a_replica_that_counts_nobody_is_an_error() -> None:
    good = users([100, 100], [900, 900])
    scrapes = good.online.scrapes
    assert not isinstance(scrapes, Missing)
    more = (*scrapes, Scrape({"job": "api", "instance": "replica-3:8000"}, 1.0, good.now.timestamp()))
    assert judged(replace(good, online=replace(good.online, scrapes=more))).verdict is Verdict.ERROR
    assert judged(replace(good, online=replace(good.online, scrapes=Missing("away")))).verdict is Verdict.ERROR
    assert judged(with_numbers(good, {})).verdict is Verdict.ERROR


# query


def asked(value: float | None, counted: float | None = None, *, age: float = 1.0, **changes: object) -> TrialView:
    """Return a trial in which the query gave ``value`` (None: no series)."""
    empty = view(online_policy("query", **changes), 100)

    def points(number: float | None) -> Points:
        return Points(() if number is None else (Point({}, number, empty.now.timestamp() - age),))

    return with_numbers(empty, {NumberQuery("overlap"): points(value), NumberQuery("pairs"): points(counted)})


@pytest.mark.parametrize(
    ("value", "limits", "verdict"),
    [
        (0.5, {}, Verdict.PASS),
        (0.49, {}, Verdict.FAIL),
        (0.7, {"at_most": 0.7}, Verdict.PASS),
        (0.71, {"at_most": 0.7}, Verdict.FAIL),
        (0.2, {"at_least": None, "at_most": 0.7}, Verdict.PASS),
        (-5.0, {}, Verdict.FAIL),
        (math.nan, {}, Verdict.ERROR),
        (math.inf, {}, Verdict.ERROR),
        (-math.inf, {"at_least": None, "at_most": 0.7}, Verdict.ERROR),
        (None, {}, Verdict.ERROR),
    ],
)
def test_a_number_between_limits(value: float | None, limits: dict[str, Any], verdict: Verdict) -> None:
    result = judged(asked(value, **limits))
    assert result.verdict is verdict, result.reason
    assert result.details.get("queries", ["overlap"]) == ["overlap"]


@pytest.mark.parametrize(
    ("samples", "value", "verdict"),
    [
        (100.0, 0.9, Verdict.PASS),
        (100.0, 0.1, Verdict.FAIL),
        (99.0, 0.9, Verdict.INCONCLUSIVE),
        (99.0, 0.1, Verdict.INCONCLUSIVE),
        (0.0, math.nan, Verdict.INCONCLUSIVE),  # a share of nothing: the trial has just begun
        (99.0, math.nan, Verdict.INCONCLUSIVE),
        (100.0, math.nan, Verdict.ERROR),
        (0.0, math.inf, Verdict.ERROR),
        (math.nan, math.nan, Verdict.ERROR),
        (None, math.nan, Verdict.ERROR),
        (math.nan, 0.9, Verdict.ERROR),
        (math.inf, 0.9, Verdict.ERROR),
        (-1.0, 0.9, Verdict.ERROR),
        (None, 0.9, Verdict.ERROR),
    ],
)
def test_a_number_with_too_few_samples(samples: float | None, value: float, verdict: Verdict) -> None:
    result = judged(asked(value, samples, samples="pairs", minimum_samples=100))
    assert result.verdict is verdict, result.reason


def test_a_number_of_another_time_or_one_of_several_is_an_error() -> None:
    assert "1000 seconds old" in judged(asked(0.9, age=1000.0)).reason
    assert judged(asked(0.9, age=-1000.0)).verdict is Verdict.ERROR
    good = asked(0.9)
    two = Points((Point({"a": "1"}, 0.9, good.now.timestamp()), Point({"a": "2"}, 0.9, good.now.timestamp())))
    result = judged(with_numbers(good, {NumberQuery("overlap"): two}))
    assert "2 series" in result.reason
    assert judged(with_numbers(good, {NumberQuery("overlap"): Missing("away")})).verdict is Verdict.ERROR
    assert judged(asked(math.nan, 0.0, age=1000.0, samples="pairs", minimum_samples=100)).verdict is Verdict.ERROR
    assert judged(asked(math.nan)).verdict is Verdict.ERROR


def test_the_estimates_are_shrunk_toward_the_rollout_never_past_it() -> None:
    """Off by less than three standard errors is exactly the rollout."""
    exactly, nearly = (judged(users([one] * 2, [9000.0] * 2)).details["log_e"] for one in (1000.0, 1000.9))
    assert np.isclose(exactly, nearly, atol=1e-3)


@pytest.mark.parametrize("good", [asked(0.9), users([100, 110], [900, 890])])
def test_nothing_passes_before_the_minimum_of_minutes_and_harm_is_told_at_once(good: TrialView) -> None:
    """Also where no check of a policy is sequential."""
    for minutes, verdict in ((8.0, Verdict.PASS), (9.0, Verdict.INCONCLUSIVE)):
        found = judged(replace(good, policy=good.policy.model_copy(update={"minimum_minutes": minutes})))
        assert found.verdict is verdict
        assert ("no trial passes within 9 minutes" in found.reason) == (verdict is Verdict.INCONCLUSIVE)
    for bad in (asked(0.1), users([150, 150], [850, 850])):
        late = bad.policy.model_copy(update={"minimum_minutes": 60.0})
        assert judged(replace(bad, policy=late)).verdict is Verdict.FAIL
