"""The best items for a vector, exactly, in two steps.

A quick look at all items in low precision leaves a few of which the best are certain to be part; these are scored again
in float64 and sorted.  What is certain follows from the rounding error of the quick look, which the norms of the vectors
bound: |computed - exact| <= relative error x |query| x |item|.  Equal scores are ranked by row.  The second step does the
same arithmetic for every item, whatever is around it, so every process and machine gives the same answer.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model_release import limits
from model_release.errors import ArtifactInvalidError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_SINGLE = 2.0**-24  # relative error of one rounding in float32
_HALF = 2.0**-10  # of one number rounded to float16, twice what rounding to the nearest makes
_HALF_SMALLEST = 2.0**-24  # absolute error below the normal numbers of float16
_HALF_LARGEST_EXPONENT = 12  # items are scaled below 2^12: far from overflow, and 26 binary orders of normal numbers
_NOTHING = 1e-20  # a vector that is shorter has no direction
_PART = 4096  # rows in float64 at once


class Coarse(Protocol):
    """A quick look at all items."""

    def candidates(self, query: Doubles, k: int, barred: Rows) -> Rows:
        """Return rows among which the ``k`` best that are not ``barred`` are certain to be, or all there are."""


class Scores:
    """What an item scores: (inner product + bias) x weight, in float64.

    Attributes:
        items: (m, f) vectors, usually mapped.
        bias: (m,) or None: zeros.
        weights: (m,) or None: ones.
    """

    def __init__(self, items: Floats, *, bias: Floats | None = None, weights: Doubles | None = None) -> None:
        self.items, self.bias, self.weights = items, bias, weights

    def of(self, rows: Rows, query: Doubles) -> Doubles:
        """Return the scores of some rows; a row's score does not depend on the others."""
        scores = np.empty(len(rows))
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            products = self.items[part].astype(np.float64) * query
            scores[start : start + _PART] = products.sum(axis=1)
        if self.bias is not None:
            scores += self.bias[rows]
        if self.weights is not None:
            scores *= self.weights[rows]
        return scores


def best(scores: Scores, coarse: Coarse, query: Doubles, k: int, barred: Rows) -> tuple[Rows, Doubles]:
    """Return the ``k`` best rows that are not ``barred``, best first, and their scores."""
    if query.any():
        rows = np.sort(coarse.candidates(query, k, barred))
    else:  # nothing to tell items apart by, but the bias
        allowed = np.ones(len(scores.items), np.bool_)
        allowed[barred] = False
        rows = np.flatnonzero(allowed)
        if scores.bias is None:
            rows = rows[:k]
    return _first(rows, scores.of(rows, query), k)


def _first(rows: Rows, scores: Doubles, k: int) -> tuple[Rows, Doubles]:
    """Sort by falling score, then by row, and cut; ``rows`` rise."""
    if len(rows) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > kth)
        kept = np.concatenate([above, np.flatnonzero(scores == kth)[: k - len(above)]])
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


class SinglePrecision:
    """One matrix-vector product in float32; the largest of each of some thousand groups tells which items matter."""

    def __init__(self, scores: Scores, longest: float) -> None:
        """Look at the items of ``scores``, of which the ``longest`` has that norm, weight and bias included."""
        self._items, self._longest = scores.items, longest
        self._bias = scores.bias
        self._weights = None if scores.weights is None else scores.weights.astype(np.float32)

    def candidates(self, query: Doubles, k: int, barred: Rows) -> Rows:
        """See ``Coarse``."""
        m, f = self._items.shape
        groups = min(m, max(8 * k, 4 * math.isqrt(m)))
        size = -(-m // groups)
        values = np.full(groups * size, -np.inf, np.float32)
        scores = values[:m]
        np.dot(self._items, query.astype(np.float32), out=scores)
        if self._bias is not None:
            scores += self._bias
        if self._weights is not None:
            scores *= self._weights
        scores[barred] = -np.inf
        largest = values.reshape(size, groups).max(axis=0)  # a group is every groups-th item: quick to reduce
        if k >= groups:
            return np.flatnonzero(scores > -np.inf)
        kth = float(np.partition(largest, groups - k)[groups - k])
        error = (f + 8) * (_SINGLE * math.hypot(float(np.linalg.norm(query)), 1.0) * self._longest + 2.0**-125)
        enough = np.nextafter(np.float32(kth - 2 * error), np.float32(-np.inf))
        columns = np.flatnonzero(largest >= enough)
        rows = (np.arange(size)[:, None] * groups + columns).reshape(-1)
        found = values[rows]
        kept: Rows = rows[(found >= enough) & (found > -np.inf)]
        return kept


class HalfPrecision:
    """All items in float16, in memory of this process: half the bytes to read per request (faiss, exact search)."""

    _MOST = 2048  # candidates; with more, the search slows down

    def __init__(self, scores: Scores, longest: float, fallback: Coarse) -> None:
        """Copy the items of ``scores`` (without weights) into float16: 2 x (f + 1) bytes each.

        Args:
            scores: what is to be found.
            longest: the largest norm of an item, bias included.
            fallback: asked where float16 can't tell enough apart.
        """
        import faiss

        self._faiss: Any = faiss
        self._fallback, self._bias = fallback, scores.bias is not None
        m, f = scores.items.shape
        self._exponent = _HALF_LARGEST_EXPONENT - math.frexp(longest)[1] if longest > 0 else 0
        self._longest = math.ldexp(longest, self._exponent)
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexScalarQuantizer(
            f + self._bias, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        for start in range(0, m, 16 * _PART):
            part = scores.items[start : start + 16 * _PART]
            if scores.bias is not None:
                part = np.concatenate([part, scores.bias[start : start + 16 * _PART, None]], axis=1)
            self._index.add(np.ldexp(part, self._exponent))

    def candidates(self, query: Doubles, k: int, barred: Rows) -> Rows:
        """See ``Coarse``."""
        faiss = self._faiss
        faiss.omp_set_num_threads(1)  # holds for the thread that calls
        wanted = np.append(query, 1.0) if self._bias else query
        norm = float(np.linalg.norm(wanted))
        wanted = (wanted / norm).astype(np.float32)
        width = len(wanted)
        error = (_HALF + (width + 8) * _SINGLE) * self._longest + width * _HALF_SMALLEST
        parameters = _without(faiss, self._index.ntotal, barred)
        count = k + max(k, 32)
        while count <= self._MOST:
            found, rows = self._index.search(wanted[None], min(count, self._index.ntotal), params=parameters)
            if rows[0, -1] < 0 or count >= self._index.ntotal:  # that were all
                return np.asarray(rows[0][rows[0] >= 0], np.intp)
            enough = found[0, k - 1] - 2 * error
            if found[0, -1] < enough:
                return np.asarray(rows[0][found[0] >= enough], np.intp)
            count *= 4
        return self._fallback.candidates(query, k, barred)


def _without(faiss: Any, m: int, barred: Rows) -> Any:
    """Return search parameters that leave out some rows, None for no rows."""
    if not len(barred):
        return None
    allowed = np.ones(-(-m // 8) * 8, np.bool_)
    allowed[barred] = False
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little")))


def norms_of(items: Floats, name: str) -> Doubles:
    """Return the (m,) norms, in one pass over the vectors.

    Raises:
        ArtifactInvalidError: a vector holds NaN, infinity or numbers that are too large.
    """
    norms = np.empty(len(items))
    for start in range(0, len(items), _PART):
        part = items[start : start + _PART].astype(np.float64)
        norms[start : start + _PART] = np.sqrt(np.einsum("ij,ij->i", part, part))
    if len(norms) and not norms.max() <= limits.FACTOR_SIZE:
        raise ArtifactInvalidError(f"{name} holds NaN, infinity or vectors longer than {limits.FACTOR_SIZE:g}")
    return norms


def inverse(norms: Doubles) -> Doubles:
    """Return one over each norm; 0 for vectors without a direction."""
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > _NOTHING)
