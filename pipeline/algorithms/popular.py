"""The same list for everybody: what most users took lately.  The baseline that anything must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.algorithms.protocol import Scores, TrainingData


@dataclass(frozen=True)
class Popular:
    """Rank items by the number of users who took them in the last ``window_days``.

    Attributes:
        window_days: how far back "lately" goes.
    """

    window_days: float = 28.0

    def fit(self, data: TrainingData, *, seed: int) -> PopularFit:  # noqa: ARG002  (nothing is random)
        """Count distinct users per item; items that nobody took lately follow by all-time popularity."""
        recent = data.days <= self.window_days
        pairs = np.unique(data.users[recent].astype(np.int64) * data.shape[1] + data.items[recent])
        counts = np.bincount(pairs % data.shape[1], minlength=data.shape[1])
        return PopularFit(counts.astype(np.float32))


@dataclass(frozen=True)
class PopularFit:
    """(m,) buyers per item."""

    buyers: Scores

    def scores(self, users: slice) -> Scores:
        """Return the same row for every user."""
        return np.broadcast_to(self.buyers, (users.stop - users.start, len(self.buyers)))
