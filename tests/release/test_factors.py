"""The serving format ``factors``: exact, deterministic, and nobody is offered what they had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release.adapters import factors
from model_release.adapters.factors import LARGE, Factors, Seen
from model_release.adapters.scoring import HalfPrecision, Rows, Scores, SinglePrecision, best, norms_of
from model_release.artifact import FactorsFormat
from model_release.errors import ArtifactInvalidError

Floats = npt.NDArray[np.float32]
NOBODY = np.empty(0, np.intp)
ANY = FactorsFormat(exclude_seen=False, depth=1000)
FRESH = FactorsFormat(exclude_seen=True, depth=1000)


def brute_force(items: Floats, query: Floats, k: int, barred: Rows = NOBODY, bias: Floats | None = None) -> list[int]:
    """Return the best rows by sorting everything in float64; equal scores by row."""
    scores = items.astype(np.float64) @ query.astype(np.float64) + (0.0 if bias is None else bias)
    scores[barred] = -np.inf
    order = np.lexsort((np.arange(len(items)), -scores))
    return [int(row) for row in order[: min(k, len(items) - len(barred))]]


def run(folder: Path, users: Floats, items: Floats, serving: FactorsFormat = ANY, **more: Any) -> Factors:
    """Write a run whose users are u0, u1, ... and whose items are i0, i1, ...; open it."""
    factors.write(
        folder,
        serving,
        user_ids=[f"u{row}" for row in range(len(users))],
        item_ids=[f"i{row}" for row in range(len(items))],
        user_factors=users,
        item_factors=items,
        popular=np.array([1, 0], np.int32),
        **more,
    )
    return Factors(folder, serving)


def rows(names: list[str] | None) -> list[int]:
    """Return the rows of items by their names."""
    assert names is not None
    return [int(name[1:]) for name in names]


def half(scores: Scores) -> HalfPrecision:
    """Return the fast path, however few the items."""
    longest = float(np.hypot(norms_of(scores.items, "x"), 0.0 if scores.bias is None else scores.bias).max())
    return HalfPrecision(scores, longest, SinglePrecision(scores, longest))


@given(data=st.data())
@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("path", ["single", "half"])
def test_both_paths_give_the_exact_best(path: str, data: st.DataObject) -> None:
    """Small whole numbers make many equal scores: the best by score, then by row, and never a barred one."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    m, f = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 5))
    k = data.draw(st.integers(1, m + 3))
    scale = np.float32(data.draw(st.sampled_from([1e-6, 1.0, 1e6])))
    items = rng.integers(-2, 3, (m, f)).astype(np.float32) * scale
    query = rng.integers(-2, 3, f).astype(np.float32)
    bias = rng.integers(-2, 3, m).astype(np.float32) * scale if data.draw(st.booleans()) else None
    barred = np.flatnonzero(rng.random(m) < data.draw(st.sampled_from([0.0, 0.3, 1.0])))
    scores = Scores(items, bias=bias)
    longest = float(np.hypot(norms_of(items, "x"), 0.0 if bias is None else bias).max())
    coarse = half(scores) if path == "half" else SinglePrecision(scores, longest)
    found, _ = best(scores, coarse, query.astype(np.float64), k, barred)
    assert found.tolist() == brute_force(items, query, k, barred, bias)


@pytest.mark.parametrize("m", [5_000, LARGE + 7])
def test_random_factors_are_found_exactly(tmp_path: Path, m: int) -> None:
    """Recall at 10 against brute force is 1, below and above the fast path's beginning; and so is the order."""
    rng = np.random.default_rng(m)
    users, items = rng.standard_normal((50, 64), np.float32), rng.standard_normal((m, 64), np.float32)
    model = run(tmp_path, users, items)
    assert model.blocking == (m >= LARGE)
    for user, query in enumerate(users):
        assert rows(model.recommend(f"u{user}", 10)) == brute_force(items, query, 10)
    assert rows(model.recommend("u0", 1000)) == brute_force(items, users[0], 1000)


def test_what_float16_can_not_tell_apart_is_still_ranked_exactly() -> None:
    """A thousand items that differ by less than float16 resolves, beside others of very different size."""
    rng = np.random.default_rng(0)
    items = np.full((5_000, 8), 1.0, np.float32)
    items[:3_000] += rng.standard_normal((3_000, 8)).astype(np.float32) * np.float32(1e-5)
    items[3_000:] *= np.float32(1e-3)
    scores = Scores(items)
    query = np.ones(8, np.float32)
    found, _ = best(scores, half(scores), query.astype(np.float64), 10, NOBODY)
    assert found.tolist() == brute_force(items, query, 10)


@pytest.mark.parametrize("m", [3_000, LARGE])
def test_nobody_is_offered_what_they_had(tmp_path: Path, m: int) -> None:
    """Not after one item, not after thousands, not after all but three; and the others come in their order."""
    rng = np.random.default_rng(1)
    users, items = rng.standard_normal((4, 16), np.float32), rng.standard_normal((m, 16), np.float32)
    best_first = brute_force(items, users[1], m)
    had = [np.arange(1), np.array(best_first[:2_500]), rng.permutation(m)[: m - 3], NOBODY]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in had])])
    seen = Seen(offsets.astype(np.int64), np.concatenate(had).astype(np.int32))
    model = run(tmp_path, users, items, FRESH, seen=seen)
    for user, taken in enumerate(had):
        found = rows(model.recommend(f"u{user}", 100))
        assert not set(found) & set(taken.tolist())
        assert found == brute_force(items, users[user], 100, taken)
    assert len(rows(model.recommend("u2", 100))) == 3


@pytest.mark.parametrize("m", [50, LARGE])
def test_a_user_without_a_direction_gets_the_first_items(tmp_path: Path, m: int) -> None:
    """All scores are equal: by row, the most popular first; with a bias, by that."""
    items = np.random.default_rng(0).standard_normal((m, 4), np.float32)
    users = np.zeros((1, 4), np.float32)
    (tmp_path / "plain").mkdir()
    (tmp_path / "biased").mkdir()
    assert rows(run(tmp_path / "plain", users, items).recommend("u0", 5)) == [0, 1, 2, 3, 4]
    bias = np.arange(m, dtype=np.float32)
    biased = run(tmp_path / "biased", users, items, item_bias=bias)
    assert rows(biased.recommend("u0", 3)) == [m - 1, m - 2, m - 3]


@pytest.mark.parametrize("m", [200, LARGE])
@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_similar_items(tmp_path: Path, m: int, similarity: Any) -> None:
    """By the angle or by the inner product; never itself, never one that points away; the bias does not matter."""
    rng = np.random.default_rng(2)
    items = rng.standard_normal((m, 8), np.float32) * rng.uniform(0.1, 5, (m, 1)).astype(np.float32)
    items[7] = 0
    serving = FactorsFormat(exclude_seen=False, similarity=similarity, depth=1000)
    bias = rng.standard_normal(m).astype(np.float32)
    model = run(tmp_path, np.ones((1, 8), np.float32), items, serving, item_bias=bias)
    exact = items.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    likeness = exact @ exact[3]
    if similarity == "cosine":
        likeness = np.divide(likeness, norms, out=np.zeros(m), where=norms > 0)
    likeness[3] = -np.inf
    expected = [int(row) for row in np.argsort(-likeness, kind="stable")[:1000] if likeness[row] > 0]
    assert rows(model.similar("i3", 1000)) == expected
    assert model.similar("i7", 5) == []
    assert model.similar("nothing", 5) is None


def test_lists_are_as_long_as_the_run_says(tmp_path: Path) -> None:
    """``depth`` of the manifest, or all items if there are fewer; unknown users are unknown."""
    items = np.random.default_rng(0).standard_normal((30, 4), np.float32)
    model = run(tmp_path, np.ones((1, 4), np.float32), items, FactorsFormat(exclude_seen=False, depth=7))
    assert (model.depth, len(rows(model.recommend("u0", 100)))) == (7, 7)
    assert model.recommend("u1", 3) is None
    assert model.popular(5) == ["i1", "i0"]
    deep = Factors(tmp_path, FactorsFormat(exclude_seen=False, depth=100))
    assert (deep.depth, len(rows(deep.recommend("u0", 100)))) == (30, 30)
    assert (deep.users, deep.items, deep.item_name("i1")) == (1, 30, None)


def test_two_processes_rank_equal_items_alike(tmp_path: Path) -> None:
    """Copies of one vector at odd places, which matrix products round differently, come by row in every process."""
    rng = np.random.default_rng(3)
    items = rng.standard_normal((1_000, 33), np.float32)
    items[5::7] = items[5]
    users = items[5:6]
    here = run(tmp_path, users, items).recommend("u0", 60)
    assert rows(here) == list(range(5, 1_000, 7))[:60]
    program = (
        "import sys, pathlib; from model_release.adapters.factors import Factors;"
        "from model_release.artifact import FactorsFormat;"
        "print(Factors(pathlib.Path(sys.argv[1]), FactorsFormat(exclude_seen=False)).recommend('u0', 60))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_ids": ["u0", "u0"]}, "repeat"),
        ({"user_factors": np.ones((2, 5), np.float32)}, "user_factors.npy is float32"),
        ({"item_factors": np.ones((2, 4), np.float32)}, "item_factors.npy is float32"),
        ({"item_factors": np.full((3, 4), np.nan, np.float32)}, "NaN"),
        ({"user_factors": np.full((2, 4), np.inf, np.float32)}, "infinity"),
        ({"user_factors": np.full((2, 4), 1e30, np.float32)}, "beyond 1e"),
        ({"item_factors": np.full((3, 4), 1e30, np.float32)}, "longer than 1e"),
        ({"item_bias": np.full(3, np.nan, np.float32)}, "item_bias.npy holds NaN"),
        ({"item_bias": np.zeros(2, np.float32)}, "item_bias.npy is float32"),
        ({"popular": np.array([], np.int32)}, "empty"),
        ({"popular": np.array([3], np.int32)}, "outside the catalogue"),
        ({"item_names": ["a"]}, "1 names for 3 items"),
        ({"seen": None}, "exclude_seen needs"),
        ({"seen": Seen(np.array([0, 2, 1]), np.array([0], np.int32))}, "seen_offsets.npy does not rise"),
        ({"seen": Seen(np.array([0, 1, 2]), np.array([0], np.int32))}, "seen_offsets.npy does not rise"),
        ({"seen": Seen(np.array([0, 1]), np.array([0], np.int32))}, "seen_offsets.npy is int64"),
        ({"seen": Seen(np.array([0, 1, 1]), np.array([3], np.int32))}, "seen_items.npy points outside"),
        ({"seen": Seen(np.array([0, 1, 1]), np.array([-1], np.int32))}, "seen_items.npy points outside"),
    ],
)
def test_what_could_not_be_served_is_not_written(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Shapes that do not fit, NaN, infinity, rows outside the catalogue: refused by the writer already."""
    good: dict[str, Any] = {
        "user_ids": ["u0", "u1"],
        "item_ids": ["a", "b", "c"],
        "user_factors": np.ones((2, 4), np.float32),
        "item_factors": np.ones((3, 4), np.float32),
        "popular": np.array([0], np.int32),
        "seen": Seen(np.array([0, 0, 0]), np.array([], np.int32)),
    }
    factors.write(tmp_path, FRESH, **good)
    with pytest.raises(ArtifactInvalidError, match=message):
        factors.write(tmp_path, FRESH, **{**good, **change})


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8, max_size=8))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_accepted_is_ranked(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    """Any finite numbers, denormal ones too: refused, or ranked as float64 ranks them."""
    items = np.array(values, np.float32).reshape(4, 2)
    try:
        model = run(tmp_path_factory.mktemp("run"), np.array([[1.0, -0.5]], np.float32), items)
    except ArtifactInvalidError:
        assert np.abs(items).max() > 1e11
        return
    assert rows(model.recommend("u0", 4)) == brute_force(items, np.array([1.0, -0.5], np.float32), 4)
