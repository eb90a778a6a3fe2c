"""Paired comparison of two runs on the same users: intervals, detectable effects, sample sizes.

One user is one observation: a user's metric for two runs is correlated, so the difference per user is what varies.

References:
    Student's t interval: W. S. Gosset, "The probable error of a mean", Biometrika 6 (1908).
    Several claims, each made only if it would be with all of them looked at: S. Holm, "A simple sequentially rejective
        multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    Non-inferiority by one bound of an interval: ICH E9 (1998), section 3.3.2; E10 (2000).
    Margin relative to the reference mean as a linear contrast: D. Hauschke et al.,
        "Sample size determination for proving equivalence based on the ratio of two means", Stat. Med. 18 (1999).
    Mean of observations in clusters of unequal size as a ratio of two sums: W. G. Cochran, "Sampling Techniques" (1977),
        section 6.5.
    Difference of two means with unequal variances: B. L. Welch, Biometrika 34 (1947).
    Smallest effect that is found with a given power: H. Bloom, Evaluation Review 19 (1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_FEWEST = 2  # observations that have a spread


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

    def widened(self, other: Interval) -> Interval:
        """Return the interval with the outer of both bounds on either side; ``other`` is of the same observations."""
        lower, upper = min(self.lower, other.lower), max(self.upper, other.upper)
        return Interval(self.mean, lower, upper, self.standard_error, self.n)


def moments(values: Floats) -> tuple[float, float, int]:
    """Return mean, standard error of the mean and number of ``values`` (n,).

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    n = len(values)
    if n < _FEWEST:
        raise ValueError(f"{n} observations have no interval: at least {_FEWEST} are needed")
    if not np.isfinite(values).all():
        raise ValueError("an observation is not finite")
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n


def clustered_moments(sums: Floats, counts: Floats) -> tuple[float, float, int]:
    """Return mean, standard error and number of clusters of observations that come in clusters, such as days of a user.

    mean m = sum(sums) / sum(counts); error = sqrt(U / (U - 1) * sum((sums - m * counts)^2)) / sum(counts).

    Args:
        sums: (U,) sum of the observations of each cluster, U >= 2.
        counts: (U,) how many they are, each at least 1.

    Raises:
        ValueError: fewer than two clusters, or a sum that is not finite.
    """
    clusters = len(sums)
    if clusters < _FEWEST:
        raise ValueError(f"{clusters} clusters have no interval: at least {_FEWEST} are needed")
    if not np.isfinite(sums).all():
        raise ValueError("an observation is not finite")
    total = float(counts.sum())
    mean = float(sums.sum()) / total
    spread = float(((sums - mean * counts) ** 2).sum()) * clusters / (clusters - 1)
    return mean, math.sqrt(spread) / total, clusters


def contrast_interval(
    first: tuple[float, float, int], second: tuple[float, float, int], factor: float, confidence: float
) -> Interval:
    """Return the interval of m1 - factor * m2, of two independent means given by their moments.

    error^2 = e1^2 + (factor * e2)^2, with Welch's degrees of freedom; ``n`` of the result is theirs, rounded down, plus 1.
    """
    (mean, error, n), (other, other_error, m) = first, second
    parts = ((error**2, n - 1), ((factor * other_error) ** 2, m - 1))
    variance = sum(part for part, _ in parts)
    middle = mean - factor * other
    if variance == 0.0:
        return Interval(middle, middle, middle, 0.0, min(n, m))
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    reach = _t_quantile(confidence, freedom) * math.sqrt(variance)
    return Interval(middle, middle - reach, middle + reach, math.sqrt(variance), math.floor(freedom) + 1)


def t_interval(values: Floats, confidence: float) -> Interval:
    """Return mean -/+ t(confidence, n-1) * s / sqrt(n) of ``values`` (n,), n >= 2, all finite.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    mean, error, n = moments(values)
    reach = _t_quantile(confidence, n - 1) * error
    return Interval(mean, mean - reach, mean + reach, error, n)


def t_p_below(interval: Interval) -> float:
    """Return the p-value of "the true mean is at least 0" by Student's t, from the interval of the mean.

    At most 1 - confidence exactly if the upper bound at that confidence lies below 0.
    """
    from scipy.special import stdtr  # see _t_quantile

    if interval.standard_error == 0.0:
        return 0.0 if interval.mean < 0.0 else 1.0
    return float(stdtr(interval.n - 1, interval.mean / interval.standard_error))


def holm(p_values: Sequence[float], family: int) -> list[float]:
    """Return the p-values adjusted for a family of ``family`` hypotheses, in the order given.

    Those of the family that are not given count as 1.  Rejecting where the adjusted value is at most alpha rejects a
    true hypothesis with probability at most alpha, whatever the dependence.

    Raises:
        ValueError: more p-values than the family has members, or one that is not between 0 and 1.
    """
    if len(p_values) > family:
        raise ValueError(f"{len(p_values)} p-values for a family of {family}")
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise ValueError(f"not all of {list(p_values)} are probabilities")
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (family - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


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


def _reach(n: int, confidence: float, power: float) -> float:
    return _t_quantile(confidence, n - 1) + _t_quantile(power, n - 1)


def _t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return the quantile of Student's t distribution."""
    from scipy.special import stdtrit  # here, because it costs more than all else that a DAG file imports

    return float(stdtrit(degrees_of_freedom, probability))
