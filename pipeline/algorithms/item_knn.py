"""Items that are taken by the same users (package ``implicit``)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pipeline.algorithms.protocol import Factored, TrainingData


@dataclass(frozen=True)
class ItemKnn:
    """Item-based nearest neighbours with cosine similarity of the purchase vectors.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.

    Attributes:
        neighbours: how many similar items each item keeps (the item itself counts).
        half_life_days: decay of a user's own purchases, as in ``personal_frequency``.
    """

    neighbours: int = 50
    half_life_days: float = 60.0

    def fit(self, data: TrainingData, *, seed: int) -> Factored:  # noqa: ARG002  (nothing is random)
        """Score = a user's decayed purchases times the similarity of the items."""
        taken = data.weighted(np.exp2(-data.days / np.float32(self.half_life_days)).astype(np.float32))
        return Factored(taken, cosine(data.known, self.neighbours))


def cosine(known: sp.csr_matrix, neighbours: int) -> sp.csr_matrix:
    """Return the (m, m) cosine similarity of the columns of ``known``, the largest ``neighbours`` of each row."""
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=min(neighbours, known.shape[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Method expects CSR input")  # about a matrix that implicit makes itself
        model.fit(known, show_progress=False)
    return model.similarity.astype(np.float32).tocsr()
