"""Resampling many metrics over the same users at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from model_release import bootstrap
from model_release.bootstrap import bootstrap_interval, pivot_interval, pivot_p_below, pivots
from model_release.statistics import Floats, t_interval

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def skewed(users: int, seed: int = 0) -> Floats:
    """Return differences as rankings give them: mostly zero, the rest skewed to losses."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(users) < 0.3, -rng.exponential(0.1, users), 0.0)


def one_by_one(values: Floats, resamples: int, seed: int) -> Floats:
    """Return the pivots by drawing users with replacement and computing mean and error of what was drawn."""
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), (resamples, len(values)))]
    found: Floats = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1) / math.sqrt(len(values)))
    return found


@pytest.fixture(params=[1 << 16, 64], ids=["one block", "blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the users into one block, and into several with a smaller one at the end."""
    monkeypatch.setattr(bootstrap, "_BLOCK_USERS", request.param)


@pytest.mark.usefixtures("_blocks")
def test_pivots_are_distributed_as_those_of_a_loop() -> None:
    """The same quantiles as by drawing users one by one, within the noise of both, in one block and in several."""
    values, resamples = np.sort(skewed(200)), 40_000  # sorted: blocks differ, and so do their numbers of draws
    ours = pivots(values[:, None], resamples=resamples, seed=1)[:, 0]
    theirs = one_by_one(values, resamples, seed=2)
    assert stats.ks_2samp(ours, theirs).pvalue > 0.001
    for quantile in QUANTILES:
        density = 0.9 * min(quantile, 1 - quantile)  # of the pivots there, from below: thin tails are less certain
        noise = math.sqrt(2 * quantile * (1 - quantile) / resamples) / density
        assert np.quantile(ours, quantile) == pytest.approx(np.quantile(theirs, quantile), abs=4 * noise)


@pytest.mark.usefixtures("_blocks")
def test_every_resample_draws_as_many_as_there_are_users() -> None:
    """All users are as likely, and each count is binomial."""
    users, resamples = 150, 20_000
    found = pivots(np.eye(users)[:, [0, 70, 149]], resamples=resamples, seed=3)  # a mean is the share of one user
    for column in found.T:
        for times in range(4):
            probability = float(stats.binom.pmf(times, users, 1 / users))
            share = float(np.isclose(column, _pivot_of_count(times, users)).mean())
            noise = math.sqrt(probability * (1 - probability) / resamples)
            assert share == pytest.approx(probability, abs=4 * noise)


def _pivot_of_count(times: int, users: int) -> float:
    """Return the pivot of the column that is 1 for one user, if that user is drawn ``times`` times."""
    share = times / users
    spread = math.sqrt(share * (1 - share) * users / (users - 1) / users)
    return (share - 1 / users) / spread if spread else -math.inf


def test_metrics_are_resampled_together() -> None:
    """A column has the same pivots whatever stands beside it, in any order: to the last bit."""
    columns = np.column_stack([skewed(700, seed) for seed in range(5)])
    together = pivots(columns, resamples=300, seed=4)
    alone = np.column_stack([pivots(columns[:, [at]], resamples=300, seed=4)[:, 0] for at in range(5)])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[:, ::-1], pivots(columns[:, ::-1], resamples=300, seed=4))
    twice = pivots(np.column_stack([columns[:, 0], 2 * columns[:, 0] + 1]), resamples=300, seed=4)
    assert twice[:, 0] == pytest.approx(twice[:, 1], abs=1e-6)


def test_scale_and_place_of_the_values_do_not_matter() -> None:
    """Pivots have no unit: tiny and huge values, far from 0, give the same."""
    values = skewed(300)
    usual = pivots(values[:, None], resamples=300, seed=5)
    for changed in (values * 1e-150, values * 1e150, values + 1000.0):
        assert pivots(changed[:, None], resamples=300, seed=5) == pytest.approx(usual, abs=1e-6)


def test_the_same_seed_gives_the_same_interval_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by working in pieces; the answer does not depend on them."""
    sample = skewed(3000)
    whole = bootstrap_interval(sample, 0.95, resamples=500, seed=8)
    assert whole == bootstrap_interval(sample, 0.95, resamples=500, seed=8)
    assert whole != bootstrap_interval(sample, 0.95, resamples=500, seed=9)
    monkeypatch.setattr(bootstrap, "_HELD_BLOCKS", 1)
    assert whole == bootstrap_interval(sample, 0.95, resamples=500, seed=8)


@pytest.mark.parametrize("values", [[0.0, 0.0, 1.0], [5.0, 5.0, 5.0, 5.0], [0.1, 0.3]])
def test_resamples_that_do_not_vary(values: list[float]) -> None:
    """A resample of one value that is not the mean is infinitely far out; NaN never appears."""
    found = pivots(np.array(values)[:, None], resamples=2000, seed=6)
    assert not np.isnan(found).any()
    assert np.isinf(found).any() == (len(set(values)) > 1)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("resamples", [500, 999, 2000])
def test_p_value_and_bound_say_the_same(confidence: float, resamples: int) -> None:
    """The upper bound lies below 0 exactly if p is at most 1 - confidence, wherever 0 lies among the pivots."""
    values = skewed(120)
    found = pivots(values[:, None], resamples=resamples, seed=7)[:, 0]
    for shift in np.linspace(0.0, 0.08, 161):
        interval = pivot_interval(values + shift, found, confidence)
        assert (interval.upper < 0) == (pivot_p_below(interval, found) <= 1 - confidence)


def test_the_p_value_agrees_with_students_where_both_hold() -> None:
    """For many well-behaved values."""
    values = np.random.default_rng(10).normal(-0.004, 0.1, 2000)
    found = pivots(values[:, None], resamples=20_000, seed=11)[:, 0]
    interval = pivot_interval(values, found, 0.95)
    theirs = stats.ttest_1samp(values, 0.0, alternative="less").pvalue
    assert pivot_p_below(interval, found) == pytest.approx(theirs, abs=4 * math.sqrt(theirs / 20_000) + 0.002)


def test_the_p_value_is_as_rarely_small_as_it_says() -> None:
    """Of many skewed samples with true mean 0 the share with p <= 5 % is 5 %, within binomial error."""
    trials = 600
    small = 0
    for trial in range(trials):
        values = skewed(200, seed=1000 + trial) + 0.03
        found = pivots(values[:, None], resamples=500, seed=trial)[:, 0]
        small += pivot_p_below(pivot_interval(values, found, 0.95), found) <= 0.05
    assert small / trials == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / trials))


def test_bounds_agree_with_scipys_bootstrap() -> None:
    """BCa, of an independent implementation, is second-order accurate too; many users, so that both have settled."""
    values = skewed(4000)
    ours = bootstrap_interval(values, 0.95, resamples=4000, seed=12)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.9,
        n_resamples=4000,
        method="BCa",
        rng=np.random.default_rng(13),
        batch=200,
    ).confidence_interval
    by_t = t_interval(values, 0.95)
    width = by_t.upper - by_t.lower
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_too_few_resamples_have_no_bound() -> None:
    """An interval that never was is no interval of no width."""
    with pytest.raises(ValueError, match="no bound"):
        bootstrap_interval(skewed(50), 0.99, resamples=50, seed=0)


def test_values_that_do_not_vary_have_a_certain_p_value() -> None:
    """All users equally worse: certain.  No difference at all: no claim."""
    for value, p in ((-0.5, 0.0), (0.0, 1.0), (0.5, 1.0)):
        values = np.full(30, value)
        found = pivots(values[:, None], resamples=100, seed=0)[:, 0]
        assert pivot_p_below(pivot_interval(values, found, 0.95), found) == p
