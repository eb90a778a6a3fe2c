"""E-processes: exact projections, factors that are fair under every null, and no reward for worse answers."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from model_release.projection import Floats, _small_sine, projected
from model_release.sequential import (
    Blocks,
    Null,
    difference_bounds,
    log_e_difference,
    log_e_sample_ratio,
    log_e_share,
    log_mean,
    needed,
    share_bounds,
)

RATES = st.floats(1e-6, 1.0 - 1e-6)
MARGINS = st.floats(-0.95, 0.95)
NULLS = st.sampled_from(["at_most", "at_least"])


def bisected(n1: float, q1: float, n0: float, q0: float, m: float) -> float:
    """Return p0 of the projection by root finding: where the derivative of the divergence vanishes."""

    def slope(p0: float) -> float:
        p1 = p0 + m
        return n1 * (q1 - p1) * p0 * (1.0 - p0) + n0 * (q0 - p0) * p1 * (1.0 - p1)

    low = max(min(q0, q1 - m), 0.0, -m)
    high = min(max(q0, q1 - m), 1.0, 1.0 - m)
    return float(brentq(slope, low, high, xtol=1e-15, rtol=1e-14, maxiter=500)) if high - low > 1e-14 else low


def chance_of(x: int, n: int, rate: float) -> float:
    """Return the binomial probability; scipy's overflows at rates that are nearly no number any more."""
    return float(math.comb(n, x) * rate**x * (1.0 - rate) ** (n - x))


@given(st.floats(0.1, 1e6), RATES, st.floats(0.1, 1e6), RATES, MARGINS)
@settings(max_examples=500)
def test_the_closed_form_is_the_projection(n1: float, q1: float, n0: float, q0: float, m: float) -> None:
    expected = bisected(n1, q1, n0, q0, m)
    found = float(projected(np.array(n1), np.array(q1), np.array(n0), np.array(q0), m))
    assert found == pytest.approx(expected, abs=2e-6)


@given(
    st.integers(0, 5),
    st.integers(0, 5),
    RATES,
    st.floats(0.0, 1.0),
    st.floats(0.005, 0.6),
    NULLS,
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_no_factor_is_expected_to_gain_under_its_null(
    n1: int, n0: int, r0: float, part: float, margin: float, null: Null, past: list[tuple[int, int]]
) -> None:
    """Whatever came before, the mean of e after the next block is at most e before it: all outcomes are enumerated."""
    if null == "at_most":
        r1 = min(1.0, r0 + margin) * part
    else:
        r0 *= 1.0 - margin
        r1 = r0 + margin + (1.0 - r0 - margin) * part
    r0, r1 = (rate if rate > 1e-200 else 0.0 for rate in (r0, r1))  # scipy can't count with less
    early = [(10.0, float(bad), 10.0, float(current)) for bad, current in past]
    before = np.exp(after(early, margin, null)) if early else 1.0
    mean = 0.0
    for x1, x0 in itertools.product(range(n1 + 1), range(n0 + 1)):
        chance = chance_of(x1, n1, r1) * chance_of(x0, n0, r0)
        mean += chance * np.exp(after([*early, (float(n1), float(x1), float(n0), float(x0))], margin, null))
    assert mean <= before * (1.0 + 1e-9)


def after(rows: list[tuple[float, float, float, float]], margin: float, null: Null) -> float:
    n1, x1, n0, x0 = np.array(rows).T
    return float(log_e_difference(Blocks(n1, x1, n0, x0), margin, null, scale=margin)[-1])


def test_the_sine_is_exact_where_it_is_used() -> None:
    x = np.linspace(-math.pi / 6.0, math.pi / 6.0, 10001)
    assert np.abs(_small_sine(x) - np.sin(x)).max() < 2e-16


def test_values_between_0_and_1_may_stand_for_0_and_1() -> None:
    """The factor is convex: a value is worth at most what 0 and 1, drawn with its mean, are worth."""
    for null in get_args(Null):
        ends = [after([(20.0, 3.0, 20.0, 2.0), (1.0, x, 1.0, 0.0)], 0.1, null) for x in (0.0, 1.0)]
        for value in (0.1, 0.5, 0.9):
            middle = after([(20.0, 3.0, 20.0, 2.0), (1.0, value, 1.0, 0.0)], 0.1, null)
            assert math.exp(middle) <= (1.0 - value) * math.exp(ends[0]) + value * math.exp(ends[1]) + 1e-12


@given(st.integers(1, 12), st.floats(0.01, 0.99), st.floats(0.0, 1.0), NULLS)
def test_one_share_gains_nothing_under_its_null(n: int, limit: float, part: float, null: Null) -> None:
    rate = limit * part if null == "at_most" else limit + (1.0 - limit) * part
    mean = sum(
        chance_of(x, n, rate) * math.exp(log_e_share(np.array([float(x)]), np.array([float(n)]), limit, null)[-1])
        for x in range(n + 1)
    )
    assert mean <= 1.0 + 1e-9


@given(st.integers(1, 30), st.floats(0.05, 0.95))
def test_the_sample_ratio_is_fair(n: int, share: float) -> None:
    """Its mean is 1 exactly: it is a martingale."""
    x = np.arange(n + 1.0)
    mean = float(np.sum(binom.pmf(x, n, share) * np.exp(log_e_sample_ratio(x, np.full(n + 1, float(n)), share))))
    assert mean == pytest.approx(1.0, rel=1e-8)


COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), min_size=1)


@given(COUNTS, st.data(), st.floats(0.005, 0.3))
def test_an_answer_more_that_counts_raises_harm_and_lowers_safety_at_once_and_for_good(
    rows: list[tuple[int, int, int, int]], data: st.DataObject, margin: float
) -> None:
    n1, a, n0, b = np.array(rows, dtype=np.float64).T
    x1, x0 = np.minimum(a, n1), np.minimum(b, n0)
    worse = x1.copy()
    place = data.draw(st.integers(0, len(rows) - 1))
    worse[place] = data.draw(st.integers(int(x1[place]), int(n1[place])))
    for null, sign in (("at_most", 1.0), ("at_least", -1.0)):
        first, second = (
            log_e_difference(Blocks(n1, x, n0, x0), margin, null, scale=margin)  # type: ignore[arg-type]
            for x in (x1, worse)
        )
        assert (sign * (second - first) >= -1e-9).all()
        one, two = (log_e_share(x, n1, margin, null) for x in (x1, worse))  # type: ignore[arg-type]
        assert (sign * (two - one) >= -1e-9).all()


def test_a_block_without_answers_of_one_arm_says_nothing() -> None:
    rows = [(20.0, 3.0, 20.0, 2.0)]
    for empty in ((0.0, 0.0, 50.0, 20.0), (50.0, 20.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)):
        assert after([*rows, empty], 0.05, "at_most") == pytest.approx(after(rows, 0.05, "at_most"), abs=1e-9)


def test_clusters_count_once() -> None:
    """Ten times the answers, ten to a cluster, are as much evidence as the clusters."""
    one = blocks(0.02, 0.3, 400)
    ten = Blocks(10 * one.n1, 10 * one.x1, 10 * one.n0, 10 * one.x0).scaled(10.0)
    expected = log_e_difference(one, 0.02, "at_most", scale=0.02)
    assert np.allclose(log_e_difference(ten, 0.02, "at_most", scale=0.02), expected)


def blocks(base: float, added: float, length: int, seed: int = 0) -> Blocks:
    rng = np.random.default_rng(seed)
    n1, n0 = drawn(rng.poisson(25.0, length)), drawn(rng.poisson(225.0, length))
    return Blocks(n1, drawn(rng.binomial(n1.astype(int), base + added)), n0, drawn(rng.binomial(n0.astype(int), base)))


def bounded(cut: Blocks, margin: float) -> tuple[float, float]:
    """Return the bounds at 99 % confidence."""
    harm, safe = (log_e_difference(cut, margin, null, scale=margin) for null in get_args(Null))
    return difference_bounds(cut, margin, 0.99, scale=margin, harm=harm, safe=safe)


def drawn(counts: npt.NDArray[np.int64]) -> Floats:
    return counts.astype(np.float64)


@pytest.mark.parametrize("added", [-0.01, 0.0, 0.01, 0.02, 0.1])
@pytest.mark.parametrize("margin", [0.005, 0.02])
def test_the_bounds_say_what_the_tests_say(added: float, margin: float) -> None:
    """The upper bound is at most the margin exactly if PASS is proved, the lower one at least it if FAIL is."""
    cut = blocks(0.02, added, 300)
    low, high = bounded(cut, margin)
    safe = log_e_difference(cut, margin, "at_least", scale=margin)[-1] >= needed(0.99)
    harm = log_e_difference(cut, margin, "at_most", scale=margin).max() >= needed(0.99)
    assert (high <= margin, low >= margin) == (safe, harm)
    assert low < added < high
    assert log_e_difference(cut, low, "at_most", scale=margin).max() >= needed(0.99)
    assert log_e_difference(cut, high, "at_least", scale=margin)[-1] >= needed(0.99)
    assert high - low < 0.06


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("limit", [0.01, 0.3])
def test_the_bounds_of_a_share_say_what_its_tests_say(rate: float, limit: float) -> None:
    rng = np.random.default_rng(1)
    n = drawn(rng.poisson(25.0, 300))
    x = drawn(rng.binomial(n.astype(int), rate))
    low, high = share_bounds(x, n, limit, 0.99)
    safe = log_e_share(x, n, limit, "at_least")[-1] >= needed(0.99)
    harm = log_e_share(x, n, limit, "at_most").max() >= needed(0.99)
    assert (high <= limit, low >= limit) == (safe, harm)
    assert low < rate < high


def test_without_evidence_there_are_no_bounds() -> None:
    nothing = np.zeros(3)
    low, high = bounded(Blocks(nothing, nothing, nothing, nothing), 0.01)
    assert low < -0.99
    assert high > 0.99
    assert share_bounds(nothing, nothing, 0.01, 0.99) == (0.0, 1.0)  # exactly: people read them


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=6))
def test_the_mean_of_logarithms(values: list[float]) -> None:
    expected = np.logaddexp.reduce(values) - math.log(len(values))
    assert float(log_mean(np.array(values))) == pytest.approx(float(expected), abs=1e-9)
