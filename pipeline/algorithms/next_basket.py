"""The next basket: a user's own habits, and those of users with similar habits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from model_release.errors import ConfigurationError
from pipeline.algorithms.protocol import Factored, TrainingData

_BLOCK = 1024  # users whose similarities to all others are held at once


@dataclass(frozen=True)
class NextBasket:
    """Blend of a user's decayed purchase frequencies with the mean of the ``neighbours`` most similar users'.

    The scheme of TIFU-kNN (Hu et al., "Modeling personalized item frequency information for next-basket
    recommendation", SIGIR 2020) with the time-based decay and the cosine similarity of UP-CF (Faggioli et al.,
    "Recency aware collaborative filtering for next basket recommendation", UMAP 2020).

    Attributes:
        half_life_days: after how many days a user's own purchase counts half.
        neighbour_half_life_days: the same for what neighbours took; shorter follows the season.
        neighbours: how many similar users are asked.
        own_share: weight of the user's own habits, the rest is the neighbours'.
    """

    half_life_days: float = 90.0
    neighbour_half_life_days: float = 15.0
    neighbours: int = 300
    own_share: float = 0.7

    def __post_init__(self) -> None:
        """Refuse a share that would count neighbours against a user.

        Raises:
            ConfigurationError: ``own_share`` is above 1.
        """
        if self.own_share > 1:
            raise ConfigurationError(f"next_basket.own_share is {self.own_share:g}, expected a share of at most 1")

    def fit(self, data: TrainingData, *, seed: int) -> Factored:  # noqa: ARG002  (nothing is random)
        """Score = own_share * habits + (1 - own_share) * similarity-weighted mean of the neighbours' habits."""
        own = _frequencies(data, self.half_life_days)
        lately = _frequencies(data, self.neighbour_half_life_days)
        others = _neighbours(own, self.neighbours) * np.float32(1.0 - self.own_share)
        oneself = sp.identity(own.shape[0], np.float32, format="csr") * np.float32(self.own_share)
        return Factored(sp.hstack([oneself, others], format="csr"), sp.vstack([own, lately], format="csr"))


def _frequencies(data: TrainingData, half_life_days: float) -> sp.csr_matrix:
    """Return (n, m) decayed purchases; each row sums to 1, so that a big household does not outvote the others."""
    taken = data.weighted(np.exp2(-data.days / np.float32(half_life_days)).astype(np.float32))
    return _rows_divided(taken, np.asarray(taken.sum(axis=1)).ravel())


def _neighbours(habits: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """Return (n, n) weights of each user's ``count`` nearest others by cosine; each row sums to 1, or is empty."""
    n = habits.shape[0]
    damped = habits.sqrt()  # square roots tame the one item that is bought every day
    unit = _rows_divided(damped, np.sqrt(np.asarray(damped.multiply(damped).sum(axis=1)).ravel()))
    keep = min(count, n)
    blocks = []
    for start in range(0, n, _BLOCK):
        block = np.asarray((unit[start : start + _BLOCK] @ unit.T).todense(), np.float32)
        block[np.arange(len(block)), np.arange(start, start + len(block))] = 0.0
        # exactly `keep`, also where many are equally near: users with one purchase often are
        others = np.argpartition(-block, keep - 1, axis=1)[:, :keep]
        nearest = np.take_along_axis(block, others, axis=1)
        rows = np.repeat(np.arange(len(block)), keep)
        blocks.append(sp.csr_matrix((nearest.ravel(), (rows, others.ravel())), shape=block.shape))
    weights = sp.vstack(blocks, format="csr")
    weights.eliminate_zeros()
    return _rows_divided(weights, np.asarray(weights.sum(axis=1)).ravel())


def _rows_divided(matrix: sp.csr_matrix, by: np.ndarray[tuple[int], np.dtype[np.float32]]) -> sp.csr_matrix:
    factors = np.divide(1.0, by, out=np.zeros_like(by, np.float32), where=by > 0).astype(np.float32)
    return sp.diags(factors, format="csr", dtype=np.float32) @ matrix
