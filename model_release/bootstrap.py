"""The studentized bootstrap of means over the same users, many metrics at once.

A resample draws n of the n users with replacement.  It is drawn once for all columns, and all that a column needs of
it, the sums of its values and of their squares, is a product of the drawn counts with the columns.  Memory stays
bounded: users are taken in blocks.  How many of the n draws fall into a block is binomial given the blocks before it,
and within a block every user is as likely as another; together that is the multinomial draw itself, no approximation.

References:
    Studentized bootstrap: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), section 12.5;
        second-order accurate: P. Hall, Annals of Statistics 16 (1988).
    Order statistics of B resamples at (B + 1) * probability, p-values (1 + count) / (B + 1): A. Davison, D. Hinkley,
        "Bootstrap Methods and their Application" (1997), sections 5.2.3 and 4.2.3.
    Multinomial draws from conditional binomials: L. Devroye, "Non-Uniform Random Variate Generation" (1986), XI.1.4.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from model_release.statistics import Floats, Interval, moments

Integers = npt.NDArray[np.integer[Any]]

_BLOCK_USERS = 1 << 16  # an index is two bytes, and the counts of one resample stay in the processor's cache
_HELD_BLOCKS = 64  # counts of so many times _BLOCK_USERS users are held at a time, 32 MiB: a product has many rows
_DECIMALS = 9  # of a pivot: in which order a product adds up, which differs between machines, must not show
_ROUNDING = 1e-12  # what it may leave of nothing, beside values whose variance is 1


def pivots(columns: Floats, *, resamples: int, seed: int) -> Floats:
    """Return t* = (mean* - mean) / error* of every column of ``columns`` (n, m) for each resample: (resamples, m).

    n >= 2, all finite.  The same seed gives the same resamples for any columns of n values.  Infinite where a resample
    does not vary, 0 where it neither varies nor differs from the mean; 0 for a column that does not vary.
    """
    n, width = columns.shape
    means, spreads = columns.mean(axis=0), columns.std(axis=0)
    scales = np.where(spreads > 0.0, spreads, 1.0)
    rng = np.random.Generator(np.random.SFC64(seed))
    sums = np.zeros((resamples, 2 * width))
    left = np.full(resamples, n)
    for start in range(0, n, _BLOCK_USERS):
        block = (columns[start : start + _BLOCK_USERS] - means) / scales
        drawn = rng.binomial(left, len(block) / (n - start))
        left -= drawn
        both = np.hstack([block, block * block])
        at_once = _HELD_BLOCKS * _together(len(block))
        for first in range(0, resamples, at_once):
            rows = slice(first, first + at_once)
            counts = _counts(rng, drawn[rows], len(block))
            with _one_thread().limit(limits=1, user_api="blas"):
                sums[rows] += counts @ both
    return _studentized(sums[:, :width], sums[:, width:], n)


def pivot_interval(values: Floats, found: Floats, confidence: float) -> Interval:
    """Return the interval of the mean of ``values`` (n,) from its pivots (resamples,).

    The bounds are mean - quantile(t*, confidence) * error and mean - quantile(t*, 1 - confidence) * error, where a
    quantile is an order statistic taken outward, never one interpolated inward.

    Raises:
        ValueError: fewer than two values, or one that is not finite; too few resamples for the confidence.
    """
    mean, error, n = moments(values)
    if error == 0.0:
        return Interval(mean, mean, mean, error, n)
    beyond = math.floor((1.0 - confidence) * (len(found) + 1))
    if beyond < 1:
        raise ValueError(f"{len(found)} resamples have no bound at confidence {confidence:g}")
    ordered = np.sort(found)
    low, high = float(ordered[beyond - 1]), float(ordered[len(found) - beyond])
    return Interval(mean, mean - high * error, mean - low * error, error, n)


def pivot_p_below(interval: Interval, found: Floats) -> float:
    """Return the p-value of "the true mean is at least 0" from the pivots (resamples,) of an interval.

    At most 1 - confidence exactly if the upper bound at that confidence lies below 0.
    """
    if interval.standard_error == 0.0:
        return 0.0 if interval.mean < 0.0 else 1.0
    as_low = int((found <= interval.mean / interval.standard_error).sum())
    return (1 + as_low) / (len(found) + 1)


def bootstrap_interval(values: Floats, confidence: float, *, resamples: int, seed: int) -> Interval:
    """Return the studentized bootstrap interval of the mean of ``values`` (n,); the same seed, the same interval.

    Raises:
        ValueError: as :func:`pivot_interval`.
    """
    moments(values)
    return pivot_interval(values, pivots(values[:, None], resamples=resamples, seed=seed)[:, 0], confidence)


@functools.cache
def _one_thread() -> ThreadpoolController:
    """Return what keeps a product on one thread: several wait for each other on a machine that has other work."""
    return ThreadpoolController()


def _together(users: int) -> int:
    """Return how many resamples of ``users`` users are drawn in one call."""
    return max(1, _BLOCK_USERS // users)


def _counts(rng: np.random.Generator, drawn: Integers, users: int) -> Floats:
    """Return how often each of ``users`` is drawn in each resample, (resamples, users), given its number of draws."""
    counts = np.empty((len(drawn), users))
    together = _together(users)
    for first in range(0, len(drawn), together):
        part = drawn[first : first + together]
        picked: Integers = rng.integers(users, size=int(part.sum()), dtype=np.uint16)
        if len(part) > 1:
            picked = picked + np.repeat(np.arange(len(part)) * users, part)
        found = np.bincount(picked, minlength=len(part) * users)
        counts[first : first + together] = found.reshape(len(part), users)
    return counts


def _studentized(sums: Floats, squares: Floats, n: int) -> Floats:
    """Return the pivots from sums of the drawn values, whose mean is 0 and variance 1, and of their squares."""
    means = sums / n
    variances = (squares - sums * means) / (n - 1)
    varies = variances > _ROUNDING * squares / n
    same = np.where(np.abs(means) > _ROUNDING, np.copysign(np.inf, means), 0.0)
    found = np.where(varies, means / np.sqrt(np.where(varies, variances, 1.0) / n), same)
    return np.asarray(np.round(found, _DECIMALS), np.float64)
