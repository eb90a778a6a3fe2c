"""What an algorithm gets: codes that stand for users and items, and the days since."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.algorithms.protocol import Factored, TrainingData
from tests.pipeline import logs

LINES = [
    ("b", "x", 1.0),
    ("a", "x", 2.0),
    ("a", "y", 0.5),
    ("a", "y", 3.0),
    ("c", "x", 9.0),
    ("c", "z", 1.5),
    ("b", "z", 4.0),
]


def test_users_are_sorted_and_items_fall_by_buyers() -> None:
    """X has three buyers, z two, y one; y's two rows do not make it a second buyer."""
    data = logs.training_data(*LINES)
    assert data.user_ids == ["a", "b", "c"]
    assert data.item_ids == ["x", "z", "y"]
    assert data.shape == (3, 3)


def test_items_with_as_many_buyers_fall_by_rows_and_then_by_name() -> None:
    """The order of the log does not matter."""
    lines = [("a", "q", 1.0), ("a", "p", 1.0), ("a", "r", 1.0), ("a", "r", 2.0)]
    for order in (lines, lines[::-1]):
        assert logs.training_data(*order).item_ids == ["r", "p", "q"]


def test_rows_keep_their_order_and_their_age() -> None:
    """Codes and days stand for the row they came from."""
    data = logs.training_data(*LINES)
    for number, (user, item, days) in enumerate(LINES):
        assert data.user_ids[data.users[number]] == user
        assert data.item_ids[data.items[number]] == item
        assert data.days[number] == pytest.approx(days, abs=1e-5)


def test_counts_and_known_items() -> None:
    """How often, and whether; both are worked out from the log alone."""
    data = logs.training_data(*LINES)
    assert data.counts.toarray().tolist() == [[1, 0, 2], [1, 1, 0], [1, 1, 0]]
    assert data.known.toarray().tolist() == [[1, 0, 1], [1, 1, 0], [1, 1, 0]]
    assert data.counts.toarray().max() == 2  # making `known` did not change it


def test_weights_are_summed_per_user_and_item() -> None:
    """One weight per row."""
    data = logs.training_data(*LINES)
    weights = np.arange(1, 8, dtype=np.float32)
    assert data.weighted(weights).toarray().tolist() == [[2, 0, 7], [1, 7, 0], [5, 6, 0]]


def test_a_product_of_matrices_is_worked_out_in_blocks() -> None:
    """The same as all at once."""
    data = logs.training_data(*logs.random_lines())
    factored = Factored(data.counts, (data.counts.T @ data.counts).tocsr())
    whole = data.counts.toarray() @ (data.counts.toarray().T @ data.counts.toarray())
    assert np.array_equal(factored.scores(slice(2, 7)), whole[2:7])
    assert np.array_equal(Factored(data.counts).scores(slice(0, 3)), data.counts.toarray()[:3])


def test_an_empty_selection_is_not_an_error() -> None:
    """A slice of no user gives no row."""
    data: TrainingData = logs.training_data(*LINES)
    assert Factored(data.counts).scores(slice(0, 0)).shape == (0, 3)
