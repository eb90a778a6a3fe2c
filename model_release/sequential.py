"""Tests that may be looked at as often as one likes: e-processes for shares that come in block by block.

An e-process is a number that may be read at any time, and that ever reaches 1/alpha with probability at most alpha
while its null hypothesis holds (J. Ville, 1939).  Here each block has ``n1`` answers of the candidate, of which ``x1``
count, and ``n0`` and ``x0`` of the current run; the null is that the shares differ by at most (or at least) a margin.

The factor of a block is a bet on each of its answers, at stakes a1 and a0 around rates p1 = p0 + margin and p0:

    (1 + a1 (1-p1))^x1 (1 - a1 p1)^(n1-x1) (1 + a0 (1-p0))^x0 (1 - a0 p0)^(n0-x0),    n1 a1 + n0 a0 = 0

At true rates r its expectation is (1 + a1 (r1-p1))^n1 (1 + a0 (r0-p0))^n0, at most
exp(n1 a1 (r1-p1) + n0 a0 (r0-p0)) = exp(n1 a1 (r1 - r0 - margin)), which is at most 1 under the null if a1 has the right
sign.  So nothing is assumed of the rates but the null: they may differ from block to block, as may the sizes, and p0 may
be any guess.  The best one for an alternative q = (q1, q0) is its Kullback-Leibler projection onto the line
p1 = p0 + margin, with a1 = (q1-p1) / (p1 (1-p1)): then the factor is the likelihood ratio of q and p.  Observations
between 0 and 1 may stand for 0 and 1: the factor is convex in each.  Answers must be independent given the past, and the
sizes of a block must tell nothing of its answers; ``cluster_size`` of a policy is for answers that are not independent.

q0 is what earlier blocks of the current run showed; q1 lies a fixed distance beyond the margin from it, and the
e-process is the mean over a few distances.  q never depends on answers of the candidate, so that each of them that
counts moves the e-process of either null in one direction only: worse answers can't make a candidate look better.

References:
    R. Turner, A. Ly, P. Gruenwald, "Generic E-variables for exact sequential k-sample tests", J. Stat. Plan. Inference
        230 (2024); R. Turner, P. Gruenwald, "Exact anytime-valid confidence intervals for contingency tables and
        beyond", Stat. Probab. Lett. 198 (2023).
    Mean of e-processes, and thresholds: V. Vovk, R. Wang, "E-values", Annals of Statistics 49 (2021).
    Mixture for a known share: H. Robbins, Annals of Math. Stat. 41 (1970); M. Lindon, A. Malek, "Anytime-valid
        inference for multinomial count data", NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_release.projection import TINY, Floats, projected

Null = Literal["at_most", "at_least"]

_PRIOR = 0.5  # of a rate before anything was seen: half an answer that counts in one (Krichevsky and Trofimov)
_NEAR = (0.5, 1.0, 2.0)  # distances beyond the margin, in scales: half-way to no difference, none, an improvement
_FAR = (5.0, 20.0)  # a fault may be of any size, an improvement need not be told from a larger one
_ODDS = np.exp(np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]))  # the same for one share, as ratios of odds
_KEPT = 0.25  # an alternative keeps this part of the current rate's distance from 0 and 1
_STEPS = 12  # of the search for a bound


@dataclass(frozen=True)
class Blocks:
    """Answers of both arms, block by block; each array is (..., blocks), and the last axis is time.

    Attributes:
        n1: answers of the candidate.
        x1: those that count; between 0 and ``n1``.
        n0: answers of the current run.
        x0: those that count.
    """

    n1: Floats
    x1: Floats
    n0: Floats
    x0: Floats

    def scaled(self, cluster_size: float) -> Blocks:
        """Return the blocks with each ``cluster_size`` answers taken for one."""
        return Blocks(self.n1 / cluster_size, self.x1 / cluster_size, self.n0 / cluster_size, self.x0 / cluster_size)


def log_e_difference(blocks: Blocks, margin: float, null: Null, *, scale: float) -> Floats:
    """Return the log e-process against a null on p1 - p0, after each block.

    Args:
        blocks: arrays of shape (..., t).
        margin: between -1 and 1.
        null: ``at_most``: p1 - p0 <= margin; ``at_least``: p1 - p0 >= margin.
        scale: which differences from ``margin`` matter; the test is strongest for 0.5 to 2 times that.

    Returns:
        (..., t), cumulated over time.  Whatever ``x1`` is, more of it raises ``at_most`` and lowers ``at_least``.
    """
    learned = _learned(blocks.x0, blocks.n0)
    return log_mean(np.cumsum(_log_factors(blocks, learned, margin, null, scale), axis=-1), axis=-2)


def _log_factors(blocks: Blocks, learned: Floats, margin: float, null: Null, scale: float) -> Floats:
    """Return the log factor of each block for each alternative: (..., alternatives, t); 0 where no bet is fair.

    Args:
        blocks: arrays of shape (..., t).
        learned: (..., t), the rate of the current run before each block.
        margin: as for :func:`log_e_difference`, as are ``null`` and ``scale``.
        null: which side.
        scale: distance of the alternatives.
    """
    sign = 1.0 if null == "at_most" else -1.0
    steps = np.array(_NEAR + _FAR if null == "at_most" else _NEAR)
    q0 = learned[..., None, :]
    q1 = np.minimum(np.maximum(q0 + (margin + sign * scale * steps)[:, None], _KEPT * q0), 1.0 - _KEPT * (1.0 - q0))
    n1, x1, n0, x0 = (part[..., None, :] for part in (blocks.n1, blocks.x1, blocks.n0, blocks.x0))
    right = sign * (q1 - q0 - margin) > 0.0
    p0 = projected(n1, q1, n0, q0, margin)
    p1 = p0 + margin
    stake = (q1 - p1) / (p1 * (1.0 - p1))
    right &= sign * stake >= 0.0
    factor = _log_ratio(x1, n1, q1, p1)
    stake *= np.where(n0 > 0.0, -n1 / np.where(n0 > 0.0, n0, 1.0), 0.0)  # from here on that on the current run
    p0 *= stake
    lost = np.subtract(1.0, p0, out=p0)
    won = np.add(stake, lost, out=stake)
    right &= (lost > 0.0) & (won > 0.0) & (n0 > 0.0)
    wrong = ~right
    for part in (won, lost):
        np.copyto(part, 1.0, where=wrong)
    factor += np.multiply(x0, np.log(won, out=won), out=won)
    factor += np.multiply(n0 - x0, np.log(lost, out=lost), out=lost)
    np.copyto(factor, 0.0, where=wrong)
    return factor


def log_e_share(x: Floats, n: Floats, limit: float, null: Null) -> Floats:
    """Return the log e-process against a null on one share, after each block: ``p <= limit`` or ``p >= limit``.

    The mean over eight fixed shares beyond ``limit``; (..., t) as ``x`` and ``n``, and monotone in ``x`` like
    :func:`log_e_difference`.
    """
    odds = limit / (1.0 - limit) * (_ODDS if null == "at_most" else 1.0 / _ODDS)
    q = np.clip(odds / (1.0 + odds), TINY, 1.0 - TINY)[:, None]
    so_far = [np.cumsum(part, axis=-1)[..., None, :] for part in (x, n)]
    return log_mean(_log_ratio(so_far[0], so_far[1], q, np.asarray(limit, dtype=np.float64)), axis=-2)


def log_e_sample_ratio(candidate: Floats, everyone: Floats, share: float, *, weight: float = 100.0) -> Floats:
    """Return the log e-value against "each of ``everyone`` was given to the candidate with probability ``share``".

    Mixture over shares with the prior Beta(weight * share, weight * (1 - share)), which for totals is a martingale.
    """
    from scipy.special import betaln

    a, b = weight * share, weight * (1.0 - share)
    rest = everyone - candidate
    mixture = betaln(a + candidate, b + rest) - betaln(a, b)
    return np.asarray(mixture - candidate * math.log(share) - rest * math.log1p(-share), dtype=np.float64)


def log_mean(log_e: Floats, axis: int = 0) -> Floats:
    """Return the log of the mean of e-values: an e-value again, however they depend on each other."""
    largest = np.max(log_e, axis=axis, keepdims=True)
    over = log_e - largest
    mean = np.mean(np.exp(over, out=over), axis=axis)
    return np.asarray(np.squeeze(largest, axis=axis) + np.log(mean), dtype=np.float64)


def needed(confidence: float) -> float:
    """Return the log of 1/alpha, which an e-process must reach."""
    return -math.log1p(-confidence)


def difference_bounds(
    blocks: Blocks, margin: float, confidence: float, *, scale: float, harm: Floats, safe: Floats
) -> tuple[float, float]:
    """Return always-valid bounds of p1 - p0: each is wrong, at any time ever, with probability at most 1 - confidence.

    The lower bound is the largest margin whose null ``at_most`` was ever rejected, the upper one the smallest whose
    null ``at_least`` is rejected now; both rounded outward, by about ``scale`` / 10.  They lie on the same side of ``margin`` as the tests of
    ``margin`` say, and resolve no less than about a quarter of ``scale``.

    Args:
        blocks: arrays of shape (t,).
        margin: where the search begins, and where it is exact.
        confidence: of each bound.
        scale: as for :func:`log_e_difference`.
        harm: (t,), what :func:`log_e_difference` gives for ``margin`` and ``at_most``.
        safe: the same for ``at_least``.
    """
    enough = needed(confidence)
    learned = _learned(blocks.x0, blocks.n0)

    def below(value: float) -> float:
        found = np.cumsum(_log_factors(blocks, learned, value, "at_most", scale), axis=-1)
        return float(log_mean(found, axis=-2).max()) - enough

    def above(mirrored: float) -> float:
        found = _log_factors(blocks, learned, -mirrored, "at_least", scale).sum(axis=-1)
        return float(log_mean(found, axis=-1)) - enough

    limit = 1.0 - 1e-6
    low = _last_rejected(below, (margin, float(harm.max()) - enough), -limit, limit, scale)
    return low, -_last_rejected(above, (-margin, float(safe[-1]) - enough), -limit, limit, scale)


def share_bounds(x: Floats, n: Floats, limit: float, confidence: float) -> tuple[float, float]:
    """Return always-valid bounds of one share, as :func:`difference_bounds`; exact at ``limit``."""
    enough = needed(confidence)

    def below(value: float) -> float:
        return float(log_e_share(x, n, value, "at_most").max()) - enough

    def above(mirrored: float) -> float:
        return float(log_e_share(x, n, 1.0 - mirrored, "at_least")[-1]) - enough

    low = _last_rejected(below, (limit, below(limit)), TINY, 1.0 - TINY, limit / 2.0)
    rest = _last_rejected(above, (1.0 - limit, above(1.0 - limit)), TINY, 1.0 - TINY, limit / 2.0)
    return (low if low > TINY else 0.0), (1.0 - rest if rest > TINY else 1.0)


def _last_rejected(
    excess: Callable[[float], float], start: tuple[float, float], lowest: float, highest: float, width: float
) -> float:
    """Return a value near the largest one that is rejected (``excess`` is not below 0); ``lowest`` if none is found.

    Steps away from ``start`` (a value and its excess), wider each time, until one end is rejected and the other is not; then false position
    (Illinois), which always returns the rejected end.
    """
    kept, rejected = _bracketed(excess, start, lowest, highest, width)
    if rejected is None:
        return lowest
    low, high, at_low, at_high = rejected[0], kept[0], rejected[1], kept[1]
    for _ in range(_STEPS):
        if high - low <= width / 10.0:
            break
        middle = low + (high - low) * min(max(at_low / (at_low - at_high), 0.05), 0.95)
        value = excess(middle)
        if value >= 0.0:
            low, at_low, at_high = middle, value, at_high / 2.0
        else:
            high, at_high, at_low = middle, value, at_low / 2.0
    return low


def _bracketed(
    excess: Callable[[float], float], start: tuple[float, float], lowest: float, highest: float, width: float
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Return a value that is not rejected and one below it that is, each with its excess; the latter None: none is."""
    (place, value), step = start, width
    if value >= 0.0:
        while True:
            further = min(highest, place + step)
            found = excess(further)
            if found < 0.0 or further >= highest:
                return (further, min(found, -TINY)), (place, value)
            place, value, step = further, found, 2.0 * step
    while True:
        further = max(lowest, place - step)
        found = excess(further)
        if found >= 0.0:
            return (place, value), (further, found)
        if further <= lowest:
            return (place, value), None
        place, value, step = further, found, 2.0 * step


def _learned(x: Floats, n: Floats) -> Floats:
    """Return the rate that was learned before each block: (..., t), never 0 or 1."""
    before_x, before_n = np.cumsum(x, axis=-1) - x, np.cumsum(n, axis=-1) - n
    return (before_x + _PRIOR) / (before_n + 2.0 * _PRIOR)


def _log_ratio(x: Floats, n: Floats, q: Floats, p: Floats) -> Floats:
    found, rest = q / p, (1.0 - q) / (1.0 - p)
    found = x * np.log(found, out=found)
    found += (n - x) * np.log(rest, out=rest)
    return found
