"""Ranking metrics per user, from which of the recommended items were taken.

Each function takes ``hits``, (users, depth) bool: whether the item at each rank was taken, best rank first; and
``relevant``, (users,) int > 0: how many different items the user took.  It returns (users,) float64 in [0, 1].
Relevance is binary.  A list that is shorter than k has no hits after its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def ndcg_at(k: int, hits: Hits, relevant: Counts) -> Values:
    """Normalised discounted cumulative gain: sum of 1/log2(rank + 1) over hits, over its largest possible value.

    Source: Jarvelin, Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002, binary gains.
    """
    top = hits[:, :k]
    discounts = 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    gains: Values = top @ discounts[: top.shape[1]] / ideal
    return gains


def recall_at(k: int, hits: Hits, relevant: Counts) -> Values:
    """Share of the taken items that are among the first k."""
    shares: Values = hits[:, :k].sum(axis=1) / relevant
    return shares


def map_at(k: int, hits: Hits, relevant: Counts) -> Values:
    """Average precision: mean over the first min(relevant, k) hits possible of the precision at each hit's rank."""
    top = hits[:, :k]
    precision = np.cumsum(top, axis=1) / np.arange(1, top.shape[1] + 1)
    average = np.divide((precision * top).sum(axis=1), np.minimum(relevant, k))
    return np.asarray(average, np.float64)


def hit_rate_at(k: int, hits: Hits, relevant: Counts) -> Values:
    """1 if any of the first k was taken, else 0."""
    if len(hits) != len(relevant):
        raise ValueError(f"{len(hits)} rows of hits, {len(relevant)} users")
    found = np.asarray(hits[:, :k].any(axis=1))
    return found.astype(np.float64)


METRICS: Mapping[str, Callable[[Hits, Counts], Values]] = {
    "ndcg_at_10": lambda hits, relevant: ndcg_at(10, hits, relevant),
    "recall_at_20": lambda hits, relevant: recall_at(20, hits, relevant),
    "map_at_10": lambda hits, relevant: map_at(10, hits, relevant),
    "hit_rate_at_10": lambda hits, relevant: hit_rate_at(10, hits, relevant),
}
CUTOFFS: Mapping[str, int] = {"ndcg_at_10": 10, "recall_at_20": 20, "map_at_10": 10, "hit_rate_at_10": 10}


def per_user(hits: Hits, relevant: Counts) -> dict[str, Values]:
    """Return every metric for every user."""
    return {name: metric(hits, relevant) for name, metric in METRICS.items()}
