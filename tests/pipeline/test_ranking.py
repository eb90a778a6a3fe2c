"""From scores to lists: best first, ties to the more popular, nothing twice, nothing that may not be there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import ranking
from pipeline.algorithms.popular import Popular
from pipeline.algorithms.protocol import Scores, TrainingData
from pipeline.ranking import popular_items, rank_users, similar_items
from tests.pipeline import logs


@dataclass(frozen=True)
class Given:
    """Scores that are known beforehand."""

    matrix: Scores

    def scores(self, users: slice) -> Scores:
        return self.matrix[users]


def naive(data: TrainingData, matrix: Scores, depth: int, *, repeat_purchases: bool) -> list[list[int]]:
    """Sort each user's items by score and code, and pad."""
    known = data.known.toarray() > 0
    lists = []
    for user, row in enumerate(matrix.tolist()):
        allowed = [item for item in range(len(row)) if repeat_purchases or not known[user, item]]
        best = sorted(allowed, key=lambda item, row=row: (-row[item], item))[:depth]  # type: ignore[misc]
        lists.append(best + [-1] * (depth - len(best)))
    return lists


@given(seed=st.integers(0, 10_000), depth=st.integers(1, 14), repeat=st.booleans(), levels=st.integers(1, 6))
def test_lists_equal_a_sort_by_score_and_popularity(seed: int, depth: int, levels: int, *, repeat: bool) -> None:
    """With many ties, with lists longer than the catalogue, with and without repeats."""
    data = logs.training_data(*logs.random_lines(seed % 7))
    matrix = np.random.default_rng(seed).integers(0, levels, data.shape).astype(np.float32)
    lists = rank_users(Given(matrix), data, depth=depth, repeat_purchases=repeat)
    assert lists.dtype == np.int32
    assert lists.tolist() == naive(data, matrix, depth, repeat_purchases=repeat)


def test_a_known_item_is_never_recommended_where_nothing_repeats() -> None:
    """However high its score; a user who has everything gets an empty list."""
    data = logs.training_data(("all", "x", 1), ("all", "y", 1), ("one", "x", 1))
    matrix = np.array([[9, 8], [9, 1]], np.float32)
    lists = rank_users(Given(matrix), data, depth=3, repeat_purchases=False)
    assert lists.tolist() == [[-1, -1, -1], [1, -1, -1]]
    assert rank_users(Given(matrix), data, depth=3, repeat_purchases=True).tolist() == [[0, 1, -1], [0, 1, -1]]


def test_scores_are_left_as_they_were() -> None:
    """A model may hand out its own memory."""
    data = logs.training_data(*logs.random_lines())
    fitted = Popular().fit(data, seed=0)
    before = fitted.buyers.copy()
    rank_users(fitted, data, depth=5, repeat_purchases=False)
    assert np.array_equal(fitted.buyers, before)


def test_users_are_ranked_in_blocks_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of two users gives what one block of all gives."""
    data = logs.training_data(*logs.random_lines())
    matrix = np.random.default_rng(0).random(data.shape).astype(np.float32)
    whole = rank_users(Given(matrix), data, depth=4, repeat_purchases=False)
    monkeypatch.setattr(ranking, "_BATCH_CELLS", 2 * data.shape[1] + 1)
    assert np.array_equal(rank_users(Given(matrix), data, depth=4, repeat_purchases=False), whole)


@pytest.mark.parametrize("seed", range(4))
def test_similar_items_are_those_with_the_largest_cosine(seed: int) -> None:
    """An item is not like itself; items without a common user are not listed; ties go to the more popular."""
    data = logs.training_data(*logs.random_lines(seed, users=30, items=14, rows=80))
    known = data.known.toarray().astype(np.float64)
    m = data.shape[1]
    norms = np.sqrt(known.sum(axis=0))
    near = known.T @ known / np.outer(norms, norms)
    lists = similar_items(data, depth=m)
    for item in range(m):
        others = sorted((o for o in range(m) if o != item and near[item, o] > 0), key=lambda o: -near[item, o])
        found = [other for other in lists[item].tolist() if other >= 0]
        assert set(found) == set(others)
        assert near[item, found] == pytest.approx(near[item, others])
        assert lists[item].tolist() == found + [-1] * (m - len(found))


def test_similar_items_are_cut_to_the_depth() -> None:
    """The best are kept: y goes with x twice, z once."""
    data = logs.training_data(
        ("a", "x", 1),
        ("a", "y", 1),
        ("b", "x", 1),
        ("b", "y", 1),
        ("c", "x", 1),
        ("c", "z", 1),
        ("d", "z", 1),
        ("e", "z", 1),
    )
    lists = similar_items(data, depth=1)
    names = {data.item_ids[row]: data.item_ids[best] for row, best in enumerate(lists[:, 0].tolist())}
    assert names == {"x": "y", "y": "x", "z": "x"}


def test_popular_items_are_those_of_lately() -> None:
    """Items that nobody took lately follow by all-time popularity; the list is not padded."""
    lines = [
        ("a", "old", 40),
        ("b", "old", 41),
        ("c", "old", 42),
        ("a", "new", 1),
        ("b", "new", 1),
        ("a", "one", 2),
        ("a", "older", 90),
    ]
    data = logs.training_data(*((user, item, float(days)) for user, item, days in lines))
    found = popular_items(data, window_days=28, depth=20)
    assert [data.item_ids[row] for row in found] == ["new", "one", "old", "older"]
    assert len(popular_items(data, window_days=28, depth=2)) == 2
