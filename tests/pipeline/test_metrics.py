"""Ranking metrics: the quick ones equal what a loop over users and ranks says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import metrics
from pipeline.metrics import Counts, Hits

User = tuple[list[bool], int]


def naive(name: str, hits: list[bool], relevant: int) -> float:
    """Compute a metric of one user as the literature writes it."""
    k = int(name.rpartition("_")[2])
    top = hits[:k]
    match name.removesuffix(f"_at_{k}"):
        case "ndcg":
            gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(top, 1) if hit)
            return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(relevant, k) + 1))
        case "recall":
            return sum(top) / relevant
        case "map":
            precisions = [sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit]
            return sum(precisions) / min(relevant, k)
        case "hit_rate":
            return float(any(top))
    raise AssertionError(name)


@st.composite
def users(draw: st.DrawFn) -> list[User]:
    """Draw users with lists of one length, and at least as many relevant items as hits."""
    depth = draw(st.integers(1, 30))
    return [
        (hits, max(1, sum(hits)) + draw(st.integers(0, 40)))
        for hits in draw(st.lists(st.lists(st.booleans(), min_size=depth, max_size=depth), min_size=1, max_size=8))
    ]


def arrays(drawn: list[User]) -> tuple[Hits, Counts]:
    """Return them as the metrics want them."""
    return np.array([hits for hits, _ in drawn], bool), np.array([relevant for _, relevant in drawn], np.int64)


@given(users())
def test_every_metric_equals_a_loop_and_lies_between_0_and_1(drawn: list[User]) -> None:
    """Also for lists shorter than k, and for more relevant items than places."""
    found = metrics.per_user(*arrays(drawn))
    assert set(found) == set(metrics.METRICS) == set(metrics.CUTOFFS)
    for name, values in found.items():
        expected = [naive(name, *user) for user in drawn]
        assert values.dtype == np.float64
        assert values == pytest.approx(expected, abs=1e-12)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@given(users(), st.integers(1, 25))
def test_the_cutoff_is_the_one_that_is_asked_for(drawn: list[User], k: int) -> None:
    """For any k, not only for those that are reported."""
    hits, relevant = arrays(drawn)
    for name in ("ndcg", "recall", "map", "hit_rate"):
        values = getattr(metrics, f"{name}_at")(k, hits, relevant)
        assert values == pytest.approx([naive(f"{name}_at_{k}", *user) for user in drawn], abs=1e-12)


def test_an_example_by_hand() -> None:
    """Hits at ranks 1 and 3 of a list of 4, three items were taken."""
    hits, relevant = np.array([[True, False, True, False]]), np.array([3])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg_at(10, hits, relevant) == pytest.approx([1.5 / ideal])
    assert metrics.recall_at(20, hits, relevant) == pytest.approx([2 / 3])
    assert metrics.map_at(10, hits, relevant) == pytest.approx([(1 + 2 / 3) / 3])
    assert metrics.hit_rate_at(10, hits, relevant) == pytest.approx([1.0])
    assert metrics.recall_at(2, hits, relevant) == pytest.approx([1 / 3])


def test_a_perfect_list_is_1_and_a_useless_one_0() -> None:
    """More relevant items than places do not make a perfect list worse, except in recall."""
    hits, relevant = np.array([[True] * 20, [False] * 20]), np.array([40, 1])
    found = metrics.per_user(hits, relevant)
    for name in ("ndcg_at_10", "map_at_10", "hit_rate_at_10"):
        assert found[name].tolist() == pytest.approx([1.0, 0.0])
    assert found["recall_at_20"].tolist() == [0.5, 0.0]


def test_a_hit_after_the_cutoff_does_not_count() -> None:
    """Rank 10 counts at 10, rank 11 does not."""
    hits = np.zeros((2, 20), bool)
    hits[0, 9] = hits[1, 10] = True
    found = metrics.per_user(hits, np.array([1, 1]))
    assert found["hit_rate_at_10"].tolist() == [1.0, 0.0]
    assert found["recall_at_20"].tolist() == [1.0, 1.0]
    assert found["ndcg_at_10"].tolist() == pytest.approx([1 / math.log2(11), 0.0])
    assert found["map_at_10"].tolist() == pytest.approx([0.1, 0.0])


def test_users_and_lists_must_be_as_many() -> None:
    """One count for two users is a mistake, not a broadcast."""
    with pytest.raises(ValueError, match="2 rows of hits, 1 users"):
        metrics.hit_rate_at(10, np.zeros((2, 5), bool), np.array([1]))
