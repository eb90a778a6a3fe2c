"""Intervals that keep their promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model_release.bootstrap import bootstrap_interval
from model_release.statistics import Floats, Interval, detectable_effect, holm, t_interval, t_p_below, users_needed

SAMPLES = st.lists(st.floats(-1, 1), min_size=2, max_size=40).map(np.array)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return differences as rankings give them: mostly zero, the rest skewed.  Their true mean is 0."""
    hit = rng.random(shape) < 0.3
    return np.where(hit, rng.exponential(0.1, shape), 0.0) - 0.3 * 0.1


@given(SAMPLES, st.floats(0.6, 0.999))
def test_the_t_interval_is_the_textbook_one(sample: Floats, confidence: float) -> None:
    """It agrees with scipy's two-sided interval at 2 * confidence - 1: both ends at once."""
    interval = t_interval(sample, confidence)
    error = stats.sem(sample)
    assert interval.standard_error == pytest.approx(error, abs=1e-15)
    if error > 1e-12:
        low, high = stats.t.interval(2 * confidence - 1, len(sample) - 1, loc=sample.mean(), scale=error)
        assert (interval.lower, interval.upper) == pytest.approx((low, high), rel=1e-9, abs=1e-12)


def test_it_is_the_one_sided_test() -> None:
    """The lower bound lies above -margin exactly if scipy's paired one-sided test rejects "worse by the margin"."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        current = rng.beta(0.4, 2, 80)
        candidate = current + rng.normal(-0.005, 0.05, 80)
        margin = 0.02
        rejects = stats.ttest_rel(candidate + margin, current, alternative="greater").pvalue < 0.05
        assert (t_interval(candidate - current, 0.95).lower > -margin) == rejects


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_a_bound_is_wrong_as_rarely_as_it_promises(method: str) -> None:
    """Of many samples with true mean 0 the share with 0 beyond a bound is alpha, within binomial error.

    The differences are mostly zero and skewed, as those of rankings are; n is the smallest that the policy allows.
    """
    rng = np.random.default_rng(20260105)
    trials, n, confidence = (4000, 200, 0.95) if method == "t" else (500, 200, 0.95)
    below = above = 0
    for trial in range(trials):
        sample = skewed(rng, (n,))
        if method == "t":
            interval = t_interval(sample, confidence)
        else:
            interval = bootstrap_interval(sample, confidence, resamples=500, seed=trial)
        above += interval.lower > 0
        below += interval.upper < 0
    # 4 standard errors; skewness moves the two tails of the t interval apart, most at small n: half a percent more
    error = 4 * math.sqrt(0.05 * 0.95 / trials)
    skew = 0.03 if method == "t" else 0.01
    assert above / trials <= 0.05 + error, "false PASS"
    assert abs(below / trials - 0.05) <= error + skew, "false FAIL"
    assert above / trials >= 0.05 - error - skew


def test_bootstrap_and_t_agree_where_both_hold() -> None:
    """For many well-behaved values both intervals are the same, up to the noise of resampling."""
    sample = np.random.default_rng(2).normal(0.01, 0.1, 2000)
    by_t = t_interval(sample, 0.95)
    by_bootstrap = bootstrap_interval(sample, 0.95, resamples=4000, seed=3)
    width = by_t.upper - by_t.lower
    assert by_bootstrap.mean == by_t.mean
    assert by_bootstrap.lower == pytest.approx(by_t.lower, abs=0.05 * width)
    assert by_bootstrap.upper == pytest.approx(by_t.upper, abs=0.05 * width)


def test_the_bootstrap_agrees_with_scipy() -> None:
    """On skewed values it gives the interval of an independent implementation."""
    sample = skewed(np.random.default_rng(4), (150,))
    ours = bootstrap_interval(sample, 0.95, resamples=5000, seed=5)
    theirs = stats.bootstrap(
        (sample,), np.mean, confidence_level=0.9, n_resamples=5000, method="BCa", rng=np.random.default_rng(6)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.lower == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.upper == pytest.approx(theirs.high, abs=0.1 * width)


@given(SAMPLES)
def test_the_mean_lies_between_its_bounds(sample: Floats) -> None:
    """For any values, by both methods."""
    for interval in (t_interval(sample, 0.9), bootstrap_interval(sample, 0.9, resamples=200, seed=0)):
        assert interval.lower <= interval.mean <= interval.upper or math.isnan(interval.lower)
        assert interval.n == len(sample)


def test_values_that_do_not_vary_have_an_interval_of_no_width() -> None:
    """A run compared with itself differs by exactly nothing."""
    for interval in (t_interval(np.zeros(50), 0.95), bootstrap_interval(np.zeros(50), 0.95, resamples=200, seed=0)):
        assert (interval.lower, interval.mean, interval.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_what_has_no_interval_is_an_error(bad: list[float]) -> None:
    """Too few values and values that are no numbers never give bounds."""
    with pytest.raises(ValueError, match=r"observation"):
        t_interval(np.array(bad), 0.95)
    with pytest.raises(ValueError, match=r"observation"):
        bootstrap_interval(np.array(bad), 0.95, resamples=200, seed=0)


def test_the_detectable_effect_is_detected_as_often_as_it_says() -> None:
    """At a margin of that size an equally good run passes with the given power."""
    rng = np.random.default_rng(10)
    n, power, trials = 150, 0.8, 2000
    spread = 0.1
    exact = Interval(0.0, 0.0, 0.0, spread / math.sqrt(n), n)
    margin = detectable_effect(exact, confidence=0.95, power=power)
    passed = sum(t_interval(rng.normal(0, spread, n), 0.95).lower > -margin for _ in range(trials))
    assert passed / trials == pytest.approx(power, abs=4 * math.sqrt(power * (1 - power) / trials))


def test_so_many_users_are_enough() -> None:
    """With the number of users it asks for, an equally good run passes with the given power."""
    rng = np.random.default_rng(11)
    pilot = t_interval(rng.normal(0, 0.1, 100), 0.95)
    margin = 0.015
    needed = users_needed(pilot, margin, confidence=0.95, power=0.8)
    assert needed is not None
    assert needed > 100
    spread = pilot.standard_error * 10
    passed = sum(t_interval(rng.normal(0, spread, needed), 0.95).lower > -margin for _ in range(1000))
    assert passed / 1000 == pytest.approx(0.8, abs=0.06)


def test_half_the_margin_needs_four_times_the_users() -> None:
    """The interval shrinks with the square root of n; a margin of nothing is never reached."""
    interval = Interval(0.0, -0.1, 0.1, 0.05, 400)
    once = users_needed(interval, 0.1, confidence=0.95, power=0.8)
    half = users_needed(interval, 0.05, confidence=0.95, power=0.8)
    assert once is not None
    assert half == pytest.approx(4 * once, abs=4)
    assert users_needed(interval, 0.0, confidence=0.95, power=0.8) is None


def test_a_shift_moves_everything_but_the_error() -> None:
    """The interval of the mean plus a constant."""
    assert Interval(1.0, 0.0, 2.0, 0.5, 9).shifted(-1.0) == Interval(0.0, -1.0, 1.0, 0.5, 9)


@given(SAMPLES.filter(lambda sample: float(np.std(sample)) > 1e-9))
def test_the_p_value_is_the_textbook_one(sample: Floats) -> None:
    """It is that of scipy's one-sided test of "the mean is at least 0"."""
    theirs = stats.ttest_1samp(sample, 0.0, alternative="less").pvalue
    assert t_p_below(t_interval(sample, 0.95)) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@given(SAMPLES, st.floats(0.6, 0.999))
def test_p_value_and_bound_say_the_same(sample: Floats, confidence: float) -> None:
    """The upper bound lies below 0 exactly if p is at most 1 - confidence."""
    interval = t_interval(sample, confidence)
    if abs(interval.upper) > 1e-12:
        assert (interval.upper < 0) == (t_p_below(interval) <= 1 - confidence)


def test_values_that_do_not_vary_have_a_certain_p_value() -> None:
    """All users equally worse: certain.  No difference at all: no claim."""
    assert t_p_below(t_interval(np.full(9, -0.5), 0.95)) == 0.0
    assert t_p_below(t_interval(np.zeros(9), 0.95)) == 1.0


def naive_holm(p_values: list[float], family: int) -> list[float]:
    """Step down as the paper says: the smallest of k is held against alpha / k, the next against alpha / (k - 1)..."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    steps = [min(1.0, p_values[at] * (family - rank)) for rank, at in enumerate(order)]
    adjusted = [0.0] * len(p_values)
    for rank, at in enumerate(order):
        adjusted[at] = max(steps[: rank + 1])
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(0, 3))
def test_holm_is_the_step_down_procedure(p_values: list[float], more: int) -> None:
    """For any values; those of the family without a value count as 1."""
    family = len(p_values) + more
    assert holm(p_values, family) == pytest.approx(naive_holm(p_values, family))
    assert holm(p_values, family) == pytest.approx(holm([*p_values, *[1.0] * more], family)[: len(p_values)])


def test_holm_of_a_worked_example() -> None:
    """Four p-values, by hand."""
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2], 1) == [0.2]
    assert holm([], 3) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_a_smaller_p_value_never_makes_another_larger(p_values: list[float], data: st.DataObject) -> None:
    """More evidence of harm in one slice never takes a claim about another one back."""
    at = data.draw(st.integers(0, len(p_values) - 1))
    less = [*p_values[:at], p_values[at] * data.draw(st.floats(0, 1)), *p_values[at + 1 :]]
    after, before = holm(less, len(less)), holm(p_values, len(p_values))
    assert all(new <= old + 1e-12 for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize(("p_values", "family"), [([0.1, 0.2], 1), ([math.nan], 1), ([1.1], 1), ([-0.1], 2)])
def test_holm_refuses_what_can_not_be(p_values: list[float], family: int) -> None:
    """More claims than the family has, and numbers that are no probabilities."""
    with pytest.raises(ValueError, match=r"family|probabilities"):
        holm(p_values, family)


def test_holm_claims_falsely_as_rarely_as_promised() -> None:
    """With all hypotheses true, and correlated, the share of families with any claim is at most alpha."""
    rng = np.random.default_rng(12)
    trials, family = 4000, 3
    shared = rng.normal(size=(trials, 1))
    p_values = stats.norm.cdf((shared + rng.normal(size=(trials, family))) / math.sqrt(2))
    any_claim = sum(min(holm(list(row), family)) <= 0.05 for row in p_values) / trials
    uncorrected = float((p_values.min(axis=1) <= 0.05).mean())
    assert any_claim <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)
    assert uncorrected > 0.09, "the example would not need a correction"
