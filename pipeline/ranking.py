"""From scores to ranked lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from model_release.adapters.ranked_lists import PADDING
from pipeline.algorithms.item_knn import cosine
from pipeline.algorithms.protocol import Fitted, Scores, TrainingData

Ints = npt.NDArray[np.int32]
_Codes = npt.NDArray[np.integer]
_BATCH_CELLS = 20_000_000  # scores held at once: 80 MB as float32


def rank_users(fitted: Fitted, data: TrainingData, *, depth: int, repeat_purchases: bool) -> Ints:
    """Return the (n, depth) best items of every user, best first, padded with -1; ties go to the more popular item.

    Args:
        fitted: the trained algorithm.
        data: what it was trained on.
        depth: length of the lists.
        repeat_purchases: whether items that a user took already may be recommended.
    """
    n, m = data.shape
    lists = np.full((n, depth), PADDING, np.int32)
    batch = max(1, _BATCH_CELLS // max(m, 1))
    for start in range(0, n, batch):
        rows = slice(start, min(start + batch, n))
        scores = fitted.scores(rows)
        taken = None if repeat_purchases else data.known[rows]
        lists[rows] = _best(scores, taken, depth)
    return lists


def similar_items(data: TrainingData, *, depth: int) -> Ints:
    """Return the (m, depth) items most often taken by the same users (cosine), best first, padded with -1."""
    m = data.shape[1]
    similarity = cosine(data.known, depth + 1)  # an item is most similar to itself
    rows = np.repeat(np.arange(m, dtype=np.int32), np.diff(similarity.indptr))
    others = (rows != similarity.indices) & (similarity.data > 0)
    values = similarity.data[others].astype(np.float32)
    return _lists(rows[others], similarity.indices[others], values, shape=(m, depth))


def popular_items(data: TrainingData, *, window_days: float, depth: int) -> Ints:
    """Return the most popular items of the last ``window_days``, best first: for users that nobody knows."""
    from pipeline.algorithms.popular import Popular

    scores = Popular(window_days).fit(data, seed=0).scores(slice(0, 1))
    best: Ints = _best(scores, None, min(depth, data.shape[1]))[0]
    return best


def _best(scores: Scores, taken: sp.csr_matrix | None, depth: int) -> Ints:
    n, m = scores.shape
    costs = -scores  # the smallest first: np.partition is several times quicker at that end
    if taken is not None:
        costs[np.repeat(np.arange(n), np.diff(taken.indptr)), taken.indices] = np.inf
    last = min(depth, m) - 1
    cut = np.partition(costs, last, axis=1)[:, last, None]
    rows, columns = np.nonzero((costs <= cut) & (costs < np.inf))
    return _lists(rows, columns, -costs[rows, columns], shape=(n, depth))


def _lists(rows: _Codes, columns: _Codes, values: Scores, *, shape: tuple[int, int]) -> Ints:
    """Return the ``shape[1]`` best columns of every row, best first; ties go to the lower code: the more popular item."""
    order = np.lexsort((columns, -values, rows))
    rows, columns = rows[order], columns[order]
    position = np.arange(len(rows)) - np.searchsorted(rows, np.arange(shape[0]))[rows]
    fits = position < shape[1]
    lists = np.full(shape, PADDING, np.int32)
    lists[rows[fits], position[fits]] = columns[fits]
    return lists
