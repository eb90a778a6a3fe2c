"""What a user takes most, the recent times counting more: a strong and simple baseline where purchases repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.algorithms.protocol import Factored, TrainingData


@dataclass(frozen=True)
class PersonalFrequency:
    """Score = sum over a user's purchases of an item of 0.5 ** (days ago / half_life_days).

    Attributes:
        half_life_days: after how many days a purchase counts half.
    """

    half_life_days: float = 60.0

    def fit(self, data: TrainingData, *, seed: int) -> Factored:  # noqa: ARG002  (nothing is random)
        """Sum the decayed purchases; items a user never took follow by popularity."""
        return Factored(data.weighted(np.exp2(-data.days / np.float32(self.half_life_days)).astype(np.float32)))
