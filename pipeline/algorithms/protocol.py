"""What an algorithm gets, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

Scores = npt.NDArray[np.float32]
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class TrainingData:
    """Interactions before a cutoff, coded as integers: users 0..n-1, items 0..m-1 from the most to the least bought.

    Attributes:
        user_ids: n ids, sorted.
        item_ids: m ids, by falling number of buyers.
        users: (rows,) code of the user.
        items: (rows,) code of the item.
        days: (rows,) days from the interaction to the cutoff, > 0.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    days: npt.NDArray[np.float32]

    @classmethod
    def of(cls, rows: pl.DataFrame, *, cutoff: Any) -> TrainingData:
        """Code interactions (``user_id``, ``item_id``, ``timestamp``) that all lie before ``cutoff``."""
        users = rows.select(pl.col("user_id").unique().sort()).with_row_index("user")
        items = (
            rows.group_by("item_id")
            .agg(pl.col("user_id").n_unique().alias("buyers"), pl.len().alias("rows"))
            .sort(["buyers", "rows", "item_id"], descending=[True, True, False])
            .select("item_id")
            .with_row_index("item")
        )
        age = (pl.lit(cutoff) - pl.col("timestamp")).dt.total_microseconds() / (SECONDS_PER_DAY * 1e6)
        coded = (
            rows.select("user_id", "item_id", age.cast(pl.Float32).alias("days"))
            .join(users, on="user_id", maintain_order="left")
            .join(items, on="item_id", maintain_order="left")
        )
        return cls(
            user_ids=users["user_id"].to_list(),
            item_ids=items["item_id"].to_list(),
            users=coded["user"].cast(pl.Int32).to_numpy(),
            items=coded["item"].cast(pl.Int32).to_numpy(),
            days=coded["days"].to_numpy(),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(users, items)."""
        return len(self.user_ids), len(self.item_ids)

    @cached_property
    def counts(self) -> sp.csr_matrix:
        """(n, m) float32: how often each user took each item."""
        return self.weighted(np.ones(len(self.users), np.float32))

    @cached_property
    def known(self) -> sp.csr_matrix:
        """(n, m) float32: 1 where a user took an item at least once."""
        known = self.counts.copy()
        known.data[:] = 1.0
        return known

    def weighted(self, weights: npt.NDArray[np.float32]) -> sp.csr_matrix:
        """Return the (n, m) matrix with the sum of ``weights`` (one per row of the log) for each user and item."""
        matrix = sp.coo_matrix((weights, (self.users, self.items)), shape=self.shape, dtype=np.float32).tocsr()
        matrix.sum_duplicates()
        return matrix


class Fitted(Protocol):
    """A trained algorithm."""

    def scores(self, users: slice) -> Scores:
        """Return (users, m) scores, higher is better; equal scores are ranked by popularity."""


@runtime_checkable
class HasFactors(Protocol):
    """A trained algorithm whose scores are inner products: it can be served in the format ``factors``."""

    @property
    def user_factors(self) -> Scores:
        """(n, f)."""

    @property
    def item_factors(self) -> Scores:
        """(m, f)."""


class Algorithm(Protocol):
    """One way to make a model.  Its fields are its parameters; it is a frozen dataclass."""

    def fit(self, data: TrainingData, *, seed: int) -> Fitted:
        """Train.  The same data and seed give the same scores.

        Raises:
            InvalidInputError: the data do not suit the algorithm; the message says what would.
        """


@dataclass(frozen=True)
class Factored:
    """A sparse (n, m) matrix as it is, or the product of a sparse (n, k) and a sparse (k, m) one."""

    left: sp.csr_matrix
    right: sp.csr_matrix | None = None

    def scores(self, users: slice) -> Scores:
        """Return the rows of ``users`` as a dense block."""
        block = self.left[users]
        if self.right is not None:
            block = block @ self.right
        dense: Scores = np.asarray(block.todense(), np.float32)
        return dense
