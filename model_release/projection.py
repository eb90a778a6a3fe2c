"""Projection of two rates onto a line of constant difference, in closed form."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TINY = 1e-12  # a projected rate keeps this distance from 0 and 1


def projected(n1: Floats, q1: Floats, n0: Floats, q0: Floats, margin: float | Floats) -> Floats:
    """Return p0 of the Kullback-Leibler projection of (q1, q0), weighted with n1 and n0, onto p1 = p0 + margin.

    The zero of n1 (q1-p1)/(p1(1-p1)) + n0 (q0-p0)/(p0(1-p0)) is a root of a cubic: O. Miettinen, M. Nurminen,
    "Comparative analysis of two rates", Stat. Med. 4 (1985), appendix I.  It lies between q0 and q1 - margin, where
    one of the two terms vanishes.  All arguments broadcast; with n1 + n0 = 0 both arms weigh the same.
    """
    total = n1 + n0
    w1 = np.where(total > 0.0, n1 / np.where(total > 0.0, total, 1.0), 0.5)
    w0 = 1.0 - w1
    m = np.asarray(margin, dtype=np.float64)
    both = w1 * q1 + w0 * q0
    # p1^3 + b p1^2 + c p1 + d = 0
    b = -(1.0 + both + m * (1.0 + w1))
    c = w1 * m * m + m * (2.0 * w1 * q1 + 1.0) + both
    d = -w1 * q1 * m * (1.0 + m)
    p1 = _middle_root(b, c, d)
    other = q1 - m
    low = np.maximum(np.minimum(q0, other), np.maximum(0.0, -m) + TINY)
    high = np.minimum(np.maximum(q0, other), np.minimum(1.0, 1.0 - m) - TINY)
    return np.asarray(np.clip(p1 - m, low, high), dtype=np.float64)


def _middle_root(b: Floats, c: Floats, d: Floats) -> Floats:
    """Return the root of x^3 + b x^2 + c x + d (three real ones) that the closed form gives, polished."""
    third = b / 3.0
    v = third * (third * third - c / 2.0) + d / 2.0
    u = np.copysign(np.sqrt(np.maximum(third * third - c / 3.0, TINY)), v)
    root = 2.0 * u * np.cos((math.pi + np.arccos(np.clip(v / (u * u * u), -1.0, 1.0))) / 3.0) - third
    for _ in range(2):  # arccos loses half of the digits near 1
        value = ((root + b) * root + c) * root + d
        slope = (3.0 * root + 2.0 * b) * root + c
        step = np.divide(value, slope, out=np.zeros_like(value), where=np.abs(slope) > TINY)
        root = root - step
    return np.asarray(root, dtype=np.float64)
