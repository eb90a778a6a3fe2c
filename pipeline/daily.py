"""The metrics of single days: what an evaluation promises of a day, and what a reconciliation finds of one.

One observation is one user on one day who took something.  A list is good for the day if what the user took that day is
in it.  Both sides use the definitions below, so that a promise and a day differ by nothing but what happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from model_release.reconciling.document import DAILY_METRICS
from model_release.statistics import clustered_moments

_FEWEST = 2  # users that have a spread


class Daily(BaseModel):
    """What is promised of a single day: means over all users and days of a test window.

    A user's days are no independent observations: the standard error is that of clusters, one per user.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    users: Annotated[int, Field(ge=0)]
    user_days: Annotated[int, Field(ge=0)]
    metrics: Mapping[str, float]
    standard_errors: Mapping[str, float]

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> Daily:
        """Sum up a window.

        Args:
            pairs: a row per user, day and item taken: ``user_id``, ``day``, and ``rank``: the item's place in the list,
                0 first, null if it is not in it.
        """
        metrics, errors = {}, {}
        for metric in DAILY_METRICS:
            found = values(pairs, metric, ["user_id", "day"]).group_by("user_id").agg(pl.col("value").sum(), pl.len())
            found = found.sort("user_id")  # sums of floats depend on their order
            if found.height >= _FEWEST:
                counts = found["len"].cast(pl.Float64).to_numpy()
                metrics[metric], errors[metric], _ = clustered_moments(np.asarray(found["value"].to_numpy()), counts)
        user_days = pairs.select("user_id", "day").n_unique() if pairs.height else 0
        return cls(users=pairs["user_id"].n_unique(), user_days=user_days, metrics=metrics, standard_errors=errors)


def values(pairs: pl.DataFrame, metric: str, by: Sequence[str]) -> pl.DataFrame:
    """Return ``by`` and ``value``, the metric of each observation, sorted by ``by``.

    Args:
        pairs: a row per observation and item taken: the columns ``by``, and ``rank`` as above.
        metric: one of ``DAILY_METRICS``.
        by: what makes an observation.
    """
    kind, _, cutoff = metric.rpartition("_at_")
    hits = (pl.col("rank") < int(cutoff)).fill_null(value=False).sum()
    value = (hits > 0).cast(pl.Float64) if kind == "hit_rate" else hits / pl.len()
    return pairs.group_by(by).agg(value=value).sort(by)
