"""Tests that may be looked at as often as one likes: e-processes for shares that come in block by block.

An e-process is a number that may be read at any time, and that ever reaches 1/alpha with probability at most alpha
while its null hypothesis holds (J. Ville, 1939).  Here each block has ``n1`` answers of the candidate, of which ``x1``
count, and ``n0`` and ``x0`` of the current run; the null is that the shares differ by at most (or at least) a margin.

For a block, q = (q1, q0) are rates learned from earlier blocks, and p = (p1, p0) is their Kullback-Leibler projection
onto the null.  The factor of the block is

    (q1/p1)^x1 ((1-q1)/(1-p1))^(n1-x1) (q0/p0)^x0 ((1-q0)/(1-p0))^(n0-x0)

With a = (q-p)/(p(1-p)), its expectation at true rates r is (1 + a1 (r1-p1))^n1 (1 + a0 (r0-p0))^n0, which is at most
exp(n1 a1 (r1-p1) + n0 a0 (r0-p0)); the exponent is at most 0 for every r in the null, because that is the first-order
condition of the projection onto a convex set.  So nothing is assumed of the rates but the null: they may differ from
block to block, as may the sizes.  Observations between 0 and 1 may stand for 0 and 1: the factor is convex in each.
Answers must be independent given the past; ``cluster_size`` of a policy is for those that are not.

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
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Null = Literal["at_most", "at_least"]

_PRIOR = 0.5  # of a rate before anything was seen: half an answer that counts in one (Krichevsky and Trofimov)
_GRID, _REFINEMENTS = 16, 4  # of the search for a bound
_TINY = 1e-12


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


def log_e_difference(blocks: Blocks, margin: float | Floats, null: Null) -> Floats:
    """Return the log e-process against a null on p1 - p0, after each block.

    Args:
        blocks: arrays of shape (..., t).
        margin: between -1 and 1; may have a shape that broadcasts against (..., t).
        null: ``at_most``: p1 - p0 <= margin; ``at_least``: p1 - p0 >= margin.

    Returns:
        (..., t), cumulated over time.
    """
    q1, q0 = _learned(blocks.x1, blocks.n1), _learned(blocks.x0, blocks.n0)
    inside = q1 - q0 <= margin if null == "at_most" else q1 - q0 >= margin
    p0 = _projected(blocks.n1, q1, blocks.n0, q0, margin)
    p1 = p0 + margin
    factor = _log_ratio(blocks.x1, blocks.n1, q1, p1) + _log_ratio(blocks.x0, blocks.n0, q0, p0)
    return np.cumsum(np.where(inside, 0.0, factor), axis=-1)


def log_e_share(x: Floats, n: Floats, limit: float | Floats, null: Null) -> Floats:
    """Return the log e-process against a null on one share, after each block: ``p <= limit`` or ``p >= limit``."""
    q = _learned(x, n)
    inside = q <= limit if null == "at_most" else q >= limit
    return np.cumsum(np.where(inside, 0.0, _log_ratio(x, n, q, np.asarray(limit, dtype=np.float64))), axis=-1)


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
    return np.asarray(
        np.squeeze(largest, axis=axis) + np.log(np.mean(np.exp(log_e - largest), axis=axis)), dtype=np.float64
    )


def difference_bounds(blocks: Blocks, confidence: float) -> tuple[float, float]:
    """Return always-valid bounds of p1 - p0: each is wrong, at any time ever, with probability at most 1 - confidence.

    The lower bound is the largest margin whose null ``at_most`` is rejected, the upper one the smallest whose null
    ``at_least`` is; rounded outward by at most 4e-5.
    """
    needed = -math.log1p(-confidence)

    def rejected(margins: Floats, null: Null) -> npt.NDArray[np.bool_]:
        return log_e_difference(blocks, margins[:, None], null)[:, -1] >= needed

    low = _last_rejected(lambda margins: rejected(margins, "at_most"), -1.0)
    high = -_last_rejected(lambda mirrored: rejected(-mirrored, "at_least"), -1.0)
    return low, high


def share_bounds(x: Floats, n: Floats, confidence: float) -> tuple[float, float]:
    """Return always-valid bounds of one share, as :func:`difference_bounds`; rounded outward by at most 2e-5."""
    needed = -math.log1p(-confidence)

    def rejected(limits: Floats, null: Null) -> npt.NDArray[np.bool_]:
        return log_e_share(x, n, np.clip(limits, _TINY, 1.0 - _TINY)[:, None], null)[:, -1] >= needed

    low = _last_rejected(lambda limits: rejected(limits, "at_most"), 0.0)
    high = 1.0 - _last_rejected(lambda mirrored: rejected(1.0 - mirrored, "at_least"), 0.0)
    return low, high


def _last_rejected(rejected: Callable[[Floats], npt.NDArray[np.bool_]], lowest: float) -> float:
    """Return the largest value, between ``lowest`` and 1, up to which all are rejected; ``lowest`` if none is."""
    low, high = lowest, 1.0
    for _ in range(_REFINEMENTS):
        grid = np.linspace(low, high, _GRID + 1)[1:-1]
        found = rejected(grid)
        first_kept = int(np.argmin(found)) if not found.all() else len(found)
        edges = [low, *grid.tolist(), high]
        low, high = edges[first_kept], edges[first_kept + 1]
    return low


def _learned(x: Floats, n: Floats) -> Floats:
    """Return the rate that was learned before each block: (..., t), never 0 or 1."""
    before_x, before_n = np.cumsum(x, axis=-1) - x, np.cumsum(n, axis=-1) - n
    return (before_x + _PRIOR) / (before_n + 2.0 * _PRIOR)


def _projected(n1: Floats, q1: Floats, n0: Floats, q0: Floats, margin: float | Floats) -> Floats:
    """Return p0 of the projection of (q1, q0) onto p1 = p0 + margin.

    The zero of n1 (q1-p1)/(p1(1-p1)) + n0 (q0-p0)/(p0(1-p0)) is a root of a cubic: O. Miettinen, M. Nurminen,
    "Comparative analysis of two rates", Stat. Med. 4 (1985), appendix I.  It lies between q0 and q1 - margin, where
    one of the two terms vanishes.
    """
    total = n1 + n0
    w1 = np.where(total > 0.0, n1 / np.where(total > 0.0, total, 1.0), 0.5)
    w0 = 1.0 - w1
    m = np.asarray(margin, dtype=np.float64)
    # p1^3 + b p1^2 + c p1 + d = 0
    b = -(1.0 + w1 * q1 + w0 * q0 + m * (w0 + 2.0 * w1))
    c = w1 * m * m + m * (2.0 * w1 * q1 + 1.0) + w1 * q1 + w0 * q0
    d = -w1 * q1 * m * (1.0 + m)
    p1 = _middle_root(b, c, d)
    inner, outer = np.broadcast_arrays(q0, q1 - m)
    low = np.maximum(np.minimum(inner, outer), np.maximum(0.0, -m) + _TINY)
    high = np.minimum(np.maximum(inner, outer), np.minimum(1.0, 1.0 - m) - _TINY)
    return np.asarray(np.clip(p1 - m, low, high), dtype=np.float64)


def _middle_root(b: Floats, c: Floats, d: Floats) -> Floats:
    """Return the root of x^3 + b x^2 + c x + d (three real ones) that the closed form gives, polished."""
    v = b**3 / 27.0 - b * c / 6.0 + d / 2.0
    u = np.copysign(np.sqrt(np.maximum(b * b / 9.0 - c / 3.0, 0.0)), v)
    cube = np.where(u == 0.0, 1.0, u**3)
    w = (math.pi + np.arccos(np.clip(v / cube, -1.0, 1.0))) / 3.0
    root = 2.0 * u * np.cos(w) - b / 3.0
    for _ in range(2):  # arccos loses half of the digits near 1
        value = ((root + b) * root + c) * root + d
        slope = (3.0 * root + 2.0 * b) * root + c
        root = np.where(np.abs(slope) > _TINY, root - value / np.where(slope == 0.0, 1.0, slope), root)
    return np.asarray(root, dtype=np.float64)


def _log_ratio(x: Floats, n: Floats, q: Floats, p: Floats) -> Floats:
    return np.asarray(x * np.log(q / p) + (n - x) * (np.log1p(-q) - np.log1p(-p)), dtype=np.float64)
