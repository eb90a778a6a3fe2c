"""Each algorithm equals a loop that follows its formula word by word, on small random logs."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pytest

from model_release.errors import InvalidInputError
from pipeline.algorithms.als import Als
from pipeline.algorithms.ease import Ease
from pipeline.algorithms.item_knn import ItemKnn, cosine
from pipeline.algorithms.next_basket import NextBasket
from pipeline.algorithms.personal_frequency import PersonalFrequency
from pipeline.algorithms.popular import Popular
from pipeline.algorithms.protocol import Algorithm, TrainingData
from tests.pipeline import logs

Lines = list[tuple[str, str, float]]
Matrix = npt.NDArray[np.float64]
SEEDS = range(4)


def scores(algorithm: Algorithm, data: TrainingData, *, seed: int = 0) -> Matrix:
    """Train and score everybody."""
    found = algorithm.fit(data, seed=seed).scores(slice(0, data.shape[0]))
    assert found.shape == data.shape
    return np.asarray(found, np.float64)


def decayed(data: TrainingData, lines: Lines, half_life: float) -> Matrix:
    """Sum 0.5 ** (days / half life) per user and item."""
    matrix = np.zeros(data.shape)
    for user, item, days in lines:
        matrix[data.user_ids.index(user), data.item_ids.index(item)] += 0.5 ** (days / half_life)
    return matrix


def cosines(columns: Matrix) -> Matrix:
    """Return the cosine of every pair of columns."""
    m = columns.shape[1]
    return np.array(
        [
            [columns[:, i] @ columns[:, j] / (np.linalg.norm(columns[:, i]) * np.linalg.norm(columns[:, j])) for j in range(m)]
            for i in range(m)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_popular_counts_the_users_who_took_an_item_lately(seed: int) -> None:
    """A user counts once, whatever they took; older purchases do not count; everybody gets the same."""
    lines = logs.random_lines(seed)
    data = logs.training_data(*lines)
    buyers = defaultdict(set)
    for user, item, days in lines:
        if days <= 20:
            buyers[item].add(user)
    expected = [len(buyers[item]) for item in data.item_ids]
    assert scores(Popular(window_days=20), data).tolist() == [expected] * data.shape[0]


def test_popular_takes_the_first_and_the_last_moment_of_its_window() -> None:
    """Exactly window_days ago is still lately."""
    data = logs.training_data(("a", "x", 28.0), ("a", "y", 28.01), ("a", "z", 0.0001))
    found = dict(zip(data.item_ids, scores(Popular(), data)[0], strict=True))
    assert found == {"x": 1.0, "y": 0.0, "z": 1.0}


@pytest.mark.parametrize("seed", SEEDS)
def test_personal_frequency_sums_the_decayed_purchases(seed: int) -> None:
    """A purchase counts half after the half-life, a quarter after two."""
    lines = logs.random_lines(seed)
    data = logs.training_data(*lines)
    expected = decayed(data, lines, 30.0)
    assert scores(PersonalFrequency(half_life_days=30.0), data) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_personal_frequency_by_hand() -> None:
    """Twice long ago is less than once lately."""
    data = logs.training_data(("a", "old", 60.0), ("a", "old", 120.0), ("a", "new", 0.0), ("b", "other", 1.0))
    found = dict(zip(data.item_ids, scores(PersonalFrequency(), data)[0], strict=True))
    assert found == pytest.approx({"old": 0.75, "new": 1.0, "other": 0.0})


@pytest.mark.parametrize("seed", SEEDS)
def test_item_knn_weighs_purchases_by_cosine_similarity(seed: int) -> None:
    """With all neighbours: decayed purchases times the whole matrix of cosines."""
    lines = logs.random_lines(seed)
    data = logs.training_data(*lines)
    known = data.known.toarray().astype(np.float64)
    expected = decayed(data, lines, 60.0) @ cosines(known)
    assert scores(ItemKnn(), data) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_an_item_keeps_its_nearest_neighbours_only(keep: int) -> None:
    """Per row the ``keep`` largest cosines, the item itself among them; equal ones may be either."""
    data = logs.training_data(*logs.random_lines(3, users=25, items=8, rows=90))
    full = cosines(data.known.toarray().astype(np.float64))
    found = cosine(data.known, keep).toarray()
    for row, expected in zip(found, full, strict=True):
        kept = np.flatnonzero(row)
        assert len(kept) <= keep
        assert row[kept] == pytest.approx(expected[kept], rel=1e-5)
        assert np.sort(row)[::-1][:keep] == pytest.approx(np.sort(expected)[::-1][:keep], rel=1e-5)


def naive_next_basket(data: TrainingData, lines: Lines, algorithm: NextBasket) -> Matrix:
    """Follow the docstring: own share, and the mean of the nearest users by cosine of square roots."""

    def habits(half_life: float) -> Matrix:
        taken = decayed(data, lines, half_life)
        return np.asarray(taken / taken.sum(axis=1, keepdims=True))

    own, lately = habits(algorithm.half_life_days), habits(algorithm.neighbour_half_life_days)
    near = cosines(np.sqrt(own).T)
    result = np.zeros(data.shape)
    for user in range(data.shape[0]):
        others = sorted((other for other in range(data.shape[0]) if other != user), key=lambda o: -near[user, o])
        nearest = [other for other in others[: algorithm.neighbours] if near[user, other] > 0]
        result[user] = algorithm.own_share * own[user]
        total = sum(near[user, other] for other in nearest)
        for other in nearest:
            result[user] += (1 - algorithm.own_share) * near[user, other] / total * lately[other]
    return result


@pytest.mark.parametrize("neighbours", [1, 3, 300])
@pytest.mark.parametrize("seed", SEEDS)
def test_next_basket_blends_own_habits_with_those_of_similar_users(seed: int, neighbours: int) -> None:
    """Also when there are fewer users than neighbours."""
    lines = logs.random_lines(seed)
    data = logs.training_data(*lines)
    algorithm = NextBasket(half_life_days=40.0, neighbour_half_life_days=10.0, neighbours=neighbours, own_share=0.6)
    expected = naive_next_basket(data, lines, algorithm)
    assert scores(algorithm, data) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_next_basket_keeps_neighbours_that_are_equally_near() -> None:
    """Five users took the same: each asks two of the others, not nobody."""
    lines = [(f"u{number}", "x", 1.0) for number in range(5)]
    data = logs.training_data(*lines)
    found = scores(NextBasket(neighbours=2, own_share=0.25), data)
    assert found[:, 0] == pytest.approx(np.ones(5))


def test_next_basket_needs_no_second_user() -> None:
    """Alone, a user has their own habits."""
    data = logs.training_data(("a", "x", 1.0), ("a", "x", 1.0), ("a", "y", 1.0))
    assert scores(NextBasket(own_share=0.9), data)[0] == pytest.approx([0.6, 0.3], abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_ease_solves_the_ridge_regression_of_every_item_on_the_others(seed: int) -> None:
    """Each column of weights is the least-squares solution without the item itself, worked out one by one."""
    data = logs.training_data(*logs.random_lines(seed))
    known = data.known.toarray().astype(np.float64)
    m, penalty = data.shape[1], 5.0
    weights = np.zeros((m, m))
    for item in range(m):
        others = [other for other in range(m) if other != item]
        left = known[:, others].T @ known[:, others] + penalty * np.eye(m - 1)
        weights[others, item] = np.linalg.solve(left, known[:, others].T @ known[:, item])
    assert scores(Ease(l2=penalty), data) == pytest.approx(known @ weights, rel=1e-3, abs=1e-4)


def test_ease_puts_items_that_it_does_not_score_behind_all_others() -> None:
    """They are the least popular ones; among themselves they are equal."""
    data = logs.training_data(*logs.random_lines(1))
    found = scores(Ease(l2=5.0, maximum_items=4), data)
    whole = scores(Ease(l2=5.0, maximum_items=data.shape[1]), data)
    assert found[:, 4:].max() < found[:, :4].min()
    assert len(np.unique(found[:, 4:])) == 1
    assert not np.allclose(found[:, :4], whole[:, :4])  # the regression is on the four alone


@pytest.mark.parametrize("items", [0, 20_001])
def test_ease_refuses_a_catalogue_that_does_not_fit(items: int) -> None:
    """The message names the number and what to use instead."""
    with pytest.raises(InvalidInputError, match=f"{items} .*item_knn"):
        Ease(maximum_items=items).fit(logs.training_data(("a", "x", 1.0)), seed=0)


def two_tastes() -> TrainingData:
    """Return a log of two groups of users who share no item, each member lacking one item of their group."""
    lines = [
        (f"{group}{user}", f"{group}-{item}", 1.0)
        for group in ("tea", "coffee")
        for user in range(8)
        for item in range(6)
        if item != user % 6
    ]
    return logs.training_data(*lines)


def test_als_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    """Bit by bit."""
    data = two_tastes()
    first, again, other = (scores(Als(factors=4), data, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "algorithm",
    [Als(factors=2), ItemKnn(), Ease(l2=1.0), NextBasket(neighbours=7)],
    ids=lambda made: type(made).__name__,
)
def test_users_are_offered_what_their_group_takes(algorithm: Algorithm) -> None:
    """The item that a user lacks of their group's scores above everything of the other group."""
    data = two_tastes()
    found = scores(algorithm, data)
    known = data.known.toarray() > 0
    for row, user in enumerate(data.user_ids):
        mine = np.array([item.split("-")[0] == user.rstrip("0123456789") for item in data.item_ids])
        assert found[row, mine & ~known[row]].min() > found[row, ~mine].max()


@pytest.mark.parametrize(
    "algorithm",
    [Popular(), PersonalFrequency(), ItemKnn(), Als(factors=4), NextBasket(), Ease()],
    ids=lambda made: type(made).__name__,
)
def test_every_algorithm_takes_the_smallest_log_there_is(algorithm: Algorithm) -> None:
    """One user, one item, one row; and the scores are numbers."""
    found = scores(algorithm, logs.training_data(("a", "x", 1.0)))
    assert math.isfinite(found[0, 0])
