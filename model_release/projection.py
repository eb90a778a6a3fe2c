"""Projection of two rates onto a line of constant difference, in closed form."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TINY = 1e-12  # a projected rate keeps this distance from 0 and 1

_SERIES = tuple((-1.0) ** (k // 2) / math.factorial(k) for k in range(15, 1, -2))  # of the sine, beyond x


def projected(n1: Floats, q1: Floats, n0: Floats, q0: Floats, margin: float | Floats) -> Floats:
    """Return p0 of the Kullback-Leibler projection of (q1, q0), weighted with n1 and n0, onto p1 = p0 + margin.

    The zero of n1 (q1-p1)/(p1(1-p1)) + n0 (q0-p0)/(p0(1-p0)) is a root of a cubic: O. Miettinen, M. Nurminen,
    "Comparative analysis of two rates", Stat. Med. 4 (1985), appendix I.  It lies between q0 and q1 - margin, where
    one of the two terms vanishes.  All arguments broadcast; with n1 + n0 = 0 both arms weigh the same.  About half of
    the digits are right: enough for a bet that is fair whatever p0 is.
    """
    total = n1 + n0
    w1 = np.where(total > 0.0, n1 / np.where(total > 0.0, total, 1.0), 0.5)
    m = np.asarray(margin, dtype=np.float64)
    root = _middle_root(*_cubic(w1, q1, q0, m)) - m
    other = q1 - m
    root = np.maximum(root, np.maximum(np.minimum(q0, other), np.maximum(0.0, -m) + TINY))
    found = np.minimum(root, np.minimum(np.maximum(q0, other), np.minimum(1.0, 1.0 - m) - TINY))
    return found.reshape(np.broadcast_shapes(np.shape(n1), np.shape(q1), np.shape(n0), np.shape(q0), m.shape))


def _cubic(w1: Floats, q1: Floats, q0: Floats, m: Floats) -> tuple[Floats, Floats, Floats]:
    """Return b, c and d of p1^3 + b p1^2 + c p1 + d = 0, each an array of its own, with one axis at least."""
    d = np.empty(np.broadcast_shapes(w1.shape, q1.shape, q0.shape, m.shape, (1,)))
    np.multiply(w1, q1, out=d)
    both = d + (1.0 - w1) * q0
    b = both + (1.0 + m * (1.0 + w1))
    both += w1 * m * m + m
    both += 2.0 * m * d
    d *= -m * (1.0 + m)
    return np.negative(b, out=b), both, d


def _middle_root(b: Floats, c: Floats, d: Floats) -> Floats:
    """Return the root of x^3 + b x^2 + c x + d (three real ones) that the closed form gives.

    Works in place, and spoils its arguments: with a copy for every step half of the time went into fresh memory.
    """
    b /= 3.0
    u = b * b
    c /= 2.0
    v = u - c
    v *= b
    d /= 2.0
    v += d
    c *= 2.0 / 3.0
    u -= c
    np.sqrt(np.maximum(u, TINY, out=u), out=u)
    np.copysign(u, v, out=u)
    v /= u
    np.multiply(u, u, out=d)
    v /= d
    angle = np.arcsin(
        np.minimum(np.maximum(v, -1.0, out=v), 1.0, out=v), out=v
    )  # cos((pi + arccos v)/3) = sin(arcsin(v)/3)
    angle /= 3.0
    root = _small_sine(angle)
    root *= u
    root *= 2.0
    root -= b
    return root


def _small_sine(x: Floats) -> Floats:
    """Return the sine of at most pi/6 by its series, which is exact there and several times as fast as ``np.sin``."""
    squared = x * x
    found = squared * _SERIES[0]
    for coefficient in _SERIES[1:]:
        found += coefficient
        found *= squared
    found += 1.0
    found *= x
    return found
