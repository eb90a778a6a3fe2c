"""The check ``latency``."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_release.blocks import Floats, Series
from model_release.checks import latency
from model_release.checks.trials import TrialView
from model_release.evidence import ARMS, Arm, History, RangeQuery
from model_release.policy import LatencyPolicy
from model_release.verdict import CheckResult, Verdict
from tests.online_evidence import of_latency, online_policy, view, with_series

WIDTH = 60
LES = ("0.01", "0.02", "0.05", "+Inf")
QUERY = {arm: RangeQuery(f'seconds_bucket{{variant="{arm}"}}') for arm in ARMS}


def judged(found: TrialView) -> CheckResult:
    rule = found.policy.checks[0]
    assert isinstance(rule, LatencyPolicy)
    (result,) = latency.check(rule, found)
    return result


def buckets(shares: tuple[float, ...], answers: int, seed: int) -> dict[str, Floats]:
    """Return answers at most as slow as each bound, of which a block has ``shares`` in the mean."""
    cells = np.diff(np.array([0.0, *shares, 1.0]))
    counts = np.random.default_rng(seed).multinomial(answers, cells, WIDTH)
    return dict(zip(LES, np.cumsum(counts, axis=1).T.astype(np.float64), strict=True))


def trial(candidate: tuple[float, ...], current: tuple[float, ...] = (0.5, 0.9, 0.99), **changes: object) -> TrialView:
    both = {"candidate": buckets(candidate, 20, 1), "current": buckets(current, 100, 2)}
    return of_latency(online_policy("latency", **changes), both)


@pytest.mark.parametrize(
    ("candidate", "verdict", "worst"),
    [
        ((0.5, 0.9, 0.99), Verdict.PASS, 0.01),
        ((0.9, 0.99, 0.999), Verdict.PASS, None),
        ((0.3, 0.9, 0.99), Verdict.FAIL, 0.01),
        ((0.5, 0.7, 0.99), Verdict.FAIL, 0.02),
        ((0.5, 0.9, 0.95), Verdict.INCONCLUSIVE, 0.05),
        ((0.5, 0.85, 0.99), Verdict.INCONCLUSIVE, 0.02),
    ],
)
def test_no_bound_may_have_more_slower_answers(
    candidate: tuple[float, ...], verdict: Verdict, worst: float | None
) -> None:
    result = judged(trial(candidate))
    assert result.verdict is verdict, result.reason
    assert result.interval is not None
    low, high = result.interval
    assert low is not None
    assert high is not None
    assert (high <= 0.05) == (verdict is Verdict.PASS)
    assert (low >= 0.05) == (verdict is Verdict.FAIL)
    if worst is not None:
        assert result.details["slower_than_seconds"] == worst
        assert f"slower than {worst:g} s" in result.reason
    assert result.samples == 2 * 20 * WIDTH


def test_only_the_bounds_that_are_named_are_looked_at() -> None:
    slow_at_10_ms = (0.3, 0.9, 0.99)
    assert judged(trial(slow_at_10_ms, slower_than=[0.02, 0.05])).verdict is Verdict.PASS
    assert judged(trial(slow_at_10_ms, slower_than=[0.01])).verdict is Verdict.FAIL
    result = judged(trial(slow_at_10_ms, slower_than=[0.015]))
    assert result.verdict is Verdict.ERROR
    assert "no bound 0.015 of slower_than; there are: 0.01, 0.02, 0.05" in result.reason


def test_before_the_first_block_there_is_nothing_to_say() -> None:
    assert judged(view(online_policy("latency"), 0)).verdict is Verdict.INCONCLUSIVE


GOOD = trial((0.5, 0.9, 0.99))


def changed(arm: Arm, change: Mapping[str, Floats | None], names: Mapping[str, str] | None = None) -> CheckResult:
    """Judge with other values of some buckets of one arm (None: without them), or with other names."""
    history = GOOD.online.histories[QUERY[arm]]
    assert isinstance(history, History)
    parts = []
    for one in history.series:
        le = one.labels["le"]
        values = change.get(le, one.values)
        if values is not None:
            parts.append(Series({**one.labels, "le": (names or {}).get(le, le)}, values))
    return judged(with_series(GOOD, QUERY[arm], *parts))


@pytest.mark.parametrize("arm", ARMS)
def test_what_is_no_histogram_is_an_error(arm: Arm) -> None:
    length = WIDTH + 1
    cases: list[tuple[Mapping[str, Floats | None], Mapping[str, str] | None, str]] = [
        ({"+Inf": None}, None, "no bucket +Inf"),
        ({"0.02": None}, None, "other bounds"),
        ({}, {"0.02": "0.03"}, "other bounds"),
        ({}, {"0.02": "fast"}, "which is no bound"),
        ({}, {"0.02": "NaN"}, "which is no bound"),
        ({}, {"0.02": "0.01"}, "there twice"),
        ({"0.02": np.zeros(length)}, None, "decrease with le"),
        ({"0.02": np.full(length, math.nan)}, None, "no sample"),
        ({"0.02": np.full(length, math.inf)}, None, "infinite"),
        (dict.fromkeys(LES), None, "no series"),
        (dict.fromkeys(LES[:-1]), None, "bounds"),
    ]
    for change, names, reason in cases:
        result = changed(arm, change, names)
        assert result.verdict is Verdict.ERROR, reason
        assert reason in result.reason, result.reason


def test_a_histogram_without_one_of_the_bounds_of_the_others_is_an_error() -> None:
    history = GOOD.online.histories[QUERY["candidate"]]
    assert isinstance(history, History)
    parts = [one for one in history.series if (one.labels["le"], one.labels["instance"]) != ("0.02", "replica-1:8000")]
    result = judged(with_series(GOOD, QUERY["candidate"], *parts))
    assert result.verdict is Verdict.ERROR
    assert "different bounds" in result.reason


ORDER = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


@given(
    st.tuples(*[st.floats(0.0, 1.0)] * 3).map(lambda shares: tuple(sorted(shares))),
    st.lists(st.tuples(st.integers(0, WIDTH - 1), st.integers(0, 20)), max_size=8),
    st.integers(0, 2),
)
@settings(max_examples=80, deadline=None)
def test_slower_answers_never_give_a_better_verdict(
    shares: tuple[float, ...], slowed: list[tuple[int, int]], bound: int
) -> None:
    """Answers of the candidate are moved beyond a bound."""
    current, before = buckets((0.5, 0.9, 0.99), 100, 2), buckets(shares, 20, 3)
    after = {le: counts.copy() for le, counts in before.items()}
    for place, most in slowed:
        for le in LES[bound:-1]:
            after[le][place] = min(after[le][place], most)
        for le in LES[:bound]:
            after[le][place] = min(after[le][place], after[LES[bound]][place])
    policy = online_policy("latency", confidence=0.9)
    first, second = (
        ORDER[judged(of_latency(policy, {"candidate": one, "current": current})).verdict] for one in (before, after)
    )
    assert second >= first


def test_order_changes_nothing() -> None:
    history = GOOD.online.histories[QUERY["candidate"]]
    assert isinstance(history, History)
    assert judged(with_series(GOOD, QUERY["candidate"], *reversed(history.series))) == judged(GOOD)
