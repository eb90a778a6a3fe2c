"""A linear item-item model with a closed solution, for small catalogues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from model_release.errors import InvalidInputError
from pipeline.algorithms.protocol import Scores, TrainingData

_MOST_ITEMS = 20_000  # a dense 20,000 x 20,000 float32 matrix is 1.6 GB, and its inverse needs a second one


@dataclass(frozen=True)
class Ease:
    """EASE: B = I - P / diag(P) with P = (X'X + l2 I)^-1, zero diagonal; scores = X B.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8.

    Attributes:
        l2: ridge penalty.
        maximum_items: only that many of the most popular items are scored; the others follow by popularity.
    """

    l2: float = 300.0
    maximum_items: int = 5000

    def fit(self, data: TrainingData, *, seed: int) -> EaseFit:  # noqa: ARG002  (nothing is random)
        """Invert the item-item matrix of the most popular items.

        Raises:
            InvalidInputError: ``maximum_items`` asks for more memory than this algorithm is meant for.
        """
        if not 1 <= self.maximum_items <= _MOST_ITEMS:
            raise InvalidInputError(
                f"ease: maximum_items {self.maximum_items} is not between 1 and {_MOST_ITEMS}: memory grows with its "
                "square; use item_knn or als for a large catalogue"
            )
        taken = data.known[:, : self.maximum_items].tocsr()
        gram = np.asarray((taken.T @ taken).todense(), np.float32)
        gram[np.diag_indices_from(gram)] += np.float32(self.l2)
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return EaseFit(taken, weights.astype(np.float32), data.shape[1])


@dataclass(frozen=True)
class EaseFit:
    """(n, scored) purchases, (scored, scored) weights."""

    taken: sp.csr_matrix
    weights: Scores
    items: int

    def scores(self, users: slice) -> Scores:
        """Return scores of the scored items; the others get the lowest."""
        block = self.taken[users] @ self.weights
        scores = np.full((len(block), self.items), block.min(initial=0.0) - 1.0, np.float32)
        scores[:, : block.shape[1]] = block
        return scores
