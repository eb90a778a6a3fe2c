"""Paired comparison of two runs on the same users: intervals, detectable effects, sample sizes.

One user is one observation: a user's metric for two runs is correlated, so the difference per user is what varies.

References:
    Student's t interval: W. S. Gosset, "The probable error of a mean", Biometrika 6 (1908).
    Studentized bootstrap: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), section 12.5;
        second-order accurate: P. Hall, Annals of Statistics 16 (1988).
    Non-inferiority by one bound of an interval: ICH E9 (1998), section 3.3.2; E10 (2000).
    Margin relative to the reference mean as a linear contrast: D. Hauschke et al.,
        "Sample size determination for proving equivalence based on the ratio of two means", Stat. Med. 18 (1999).
    Smallest effect that is found with a given power: H. Bloom, Evaluation Review 19 (1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_FEWEST = 2  # observations that have a spread
_BLOCK_BYTES = 32 << 20  # resampled at a time, so that memory stays bounded for any number of users


@dataclass(frozen=True)
class Interval:
    """A mean with its two one-sided confidence bounds, each at the same confidence.

    Attributes:
        mean: of the observations.
        lower: below it the true mean lies with probability at most 1 - confidence.
        upper: above it the same.
        standard_error: of the mean.
        n: observations.
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    n: int

    def shifted(self, by: float) -> Interval:
        """Return the interval of the mean plus a constant."""
        return Interval(self.mean + by, self.lower + by, self.upper + by, self.standard_error, self.n)


def t_interval(values: Floats, confidence: float) -> Interval:
    """Return mean -/+ t(confidence, n-1) * s / sqrt(n) of ``values`` (n,), n >= 2, all finite.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    mean, error, n = _moments(values)
    reach = _t_quantile(confidence, n - 1) * error
    return Interval(mean, mean - reach, mean + reach, error, n)


def bootstrap_interval(values: Floats, confidence: float, *, resamples: int, seed: int) -> Interval:
    """Return the studentized bootstrap interval of the mean of ``values`` (n,), n >= 2, all finite.

    With t* = (mean* - mean) / error* over the resamples, the bounds are mean - quantile(t*, confidence) * error and
    mean - quantile(t*, 1 - confidence) * error.  The same seed gives the same interval.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    mean, error, n = _moments(values)
    if error == 0.0:
        return Interval(mean, mean, mean, error, n)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_BYTES // (n * values.itemsize))
    pivots = np.concatenate([_pivots(values, rng, min(block, resamples - at)) for at in range(0, resamples, block)])
    # conservative order statistics: the next value outward, never one interpolated inward
    high = float(np.quantile(pivots, confidence, method="higher"))
    low = float(np.quantile(pivots, 1.0 - confidence, method="lower"))
    return Interval(mean, mean - high * error, mean - low * error, error, n)


def detectable_effect(interval: Interval, *, confidence: float, power: float) -> float:
    """Return the smallest margin at which an equally good run would pass with probability ``power``.

    (t(confidence, n-1) + t(power, n-1)) * standard error.
    """
    return _reach(interval.n, confidence, power) * interval.standard_error


def users_needed(interval: Interval, margin: float, *, confidence: float, power: float) -> int | None:
    """Return with how many users an equally good run would pass at ``margin`` with probability ``power``.

    The detectable effect falls with the square root of n.  None: with no number of them (the margin is not positive).
    """
    if margin <= 0.0:
        return None
    effect = detectable_effect(interval, confidence=confidence, power=power)
    return max(_FEWEST, math.ceil(interval.n * (effect / margin) ** 2))


def _moments(values: Floats) -> tuple[float, float, int]:
    n = len(values)
    if n < _FEWEST:
        raise ValueError(f"{n} observations have no interval: at least {_FEWEST} are needed")
    if not np.isfinite(values).all():
        raise ValueError("an observation is not finite")
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n


def _pivots(values: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return (mean* - mean) / error* for ``resamples`` resamples; infinite where a resample does not vary."""
    n = len(values)
    drawn = values[rng.integers(0, n, size=(resamples, n), dtype=np.int32)]
    off = drawn.mean(axis=1) - values.mean()
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots: Floats = off / errors
    return np.where(np.isnan(pivots), 0.0, pivots)


def _reach(n: int, confidence: float, power: float) -> float:
    return _t_quantile(confidence, n - 1) + _t_quantile(power, n - 1)


def _t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t distribution."""
    from scipy.special import stdtrit  # here, because it costs more than all else that a DAG file imports

    return float(stdtrit(degrees_of_freedom, probability))
