"""Matrix factorisation by alternating least squares (package ``implicit``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.algorithms.protocol import Scores, TrainingData


@dataclass(frozen=True)
class Als:
    """Implicit-feedback ALS with the conjugate-gradient solver.

    Source: Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.

    Attributes:
        factors: length of a user's and an item's vector.
        iterations: sweeps over users and items.
        regularization: penalty on the vectors.
        alpha: confidence that one more purchase adds.
    """

    factors: int = 64
    iterations: int = 15
    regularization: float = 0.05
    alpha: float = 10.0

    def fit(self, data: TrainingData, *, seed: int) -> AlsFit:
        """Factorise log(1 + purchases)."""
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=self.factors,
            iterations=self.iterations,
            regularization=self.regularization,
            alpha=self.alpha,
            random_state=seed,
        )
        weights = data.counts.copy()
        weights.data = np.log1p(weights.data)
        model.fit(weights, show_progress=False)
        return AlsFit(np.asarray(model.user_factors, np.float32), np.asarray(model.item_factors, np.float32))


@dataclass(frozen=True)
class AlsFit:
    """(n, factors) and (m, factors)."""

    user_factors: Scores
    item_factors: Scores

    def scores(self, users: slice) -> Scores:
        """Return the inner products."""
        product: Scores = self.user_factors[users] @ self.item_factors.T
        return product
