"""The serving format ``ranked_lists``."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release.adapters import ids, ranked_lists
from model_release.adapters.ranked_lists import RankedLists
from model_release.errors import ArtifactInvalidError

IDS = st.lists(st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()), unique=True, max_size=20)


def ints(rows: list[list[int]] | list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Return an int32 array."""
    return np.array(rows, dtype=np.int32)


def write_small(folder: Path) -> None:
    """Write two users and three items."""
    ranked_lists.write(
        folder,
        user_ids=["u1", "用户"],
        item_ids=["a", "b", "c"],
        user_lists=ints([[2, 0, -1], [1, -1, -1]]),
        similar_lists=ints([[1, 2], [0, -1], [-1, -1]]),
        popular=ints([0, 2]),
        item_names=["苹果", None, "Milk"],
    )


def test_it_answers_what_was_written(tmp_path: Path) -> None:
    """Lists come back in order, without padding, cut at k; unknown ids give None; names may be missing."""
    write_small(tmp_path)
    model = RankedLists(tmp_path)
    assert (model.users, model.items, model.depth) == (2, 3, 3)
    assert model.recommend("u1", 10) == ["c", "a"]
    assert model.recommend("u1", 1) == ["c"]
    assert model.recommend("用户", 3) == ["b"]
    assert model.recommend("u2", 3) is None
    assert model.similar("a", 5) == ["b", "c"]
    assert model.similar("c", 5) == []
    assert model.similar("z", 5) is None
    assert model.popular(1) == ["a"]
    assert [model.item_name(item) for item in ("a", "b", "c", "z")] == ["苹果", None, "Milk", None]


@given(users=IDS, items=IDS.filter(bool), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_list_comes_back(
    tmp_path_factory: pytest.TempPathFactory, users: list[str], items: list[str], data: st.DataObject
) -> None:
    """For any ids and lists: what goes in comes out, whichever scripts the ids are in; nobody else is known."""
    folder = tmp_path_factory.mktemp("run")
    depth = data.draw(st.integers(1, 5))
    lists = [data.draw(st.lists(st.integers(0, len(items) - 1), max_size=depth, unique=True)) for _ in users]
    padded = np.full((len(users), depth), -1, dtype=np.int32)
    for row, values in enumerate(lists):
        padded[row, : len(values)] = values
    ranked_lists.write(
        folder,
        user_ids=users,
        item_ids=items,
        user_lists=padded,
        similar_lists=np.full((len(items), 1), -1, dtype=np.int32),
        popular=ints([0]),
    )
    model = RankedLists(folder)
    for user, values in zip(users, lists, strict=True):
        assert model.recommend(user, depth) == [items[row] for row in values]
    assert model.recommend("x" * 13, depth) is None


@pytest.mark.parametrize("identifier", ["", "\ud800", "a\0", "u1 ", "U1", "x" * 100_000])
def test_any_text_is_a_question(tmp_path: Path, identifier: str) -> None:
    """Empty, broken or huge ids are unknown, not an error."""
    write_small(tmp_path)
    assert RankedLists(tmp_path).recommend(identifier, 3) is None


def test_ids_whose_hashes_collide_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash only finds the place: the id itself decides."""
    monkeypatch.setattr(ids, "hash_of", lambda _: 7)
    write_small(tmp_path)
    model = RankedLists(tmp_path)
    assert model.recommend("u1", 3) == ["c", "a"]
    assert model.recommend("用户", 3) == ["b"]
    assert model.recommend("u3", 3) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_ids": ["u1", "u1"]}, "repeat"),
        ({"item_ids": ["a", "a", "c"]}, "repeat"),
        ({"user_lists": ints([[3], [0]])}, "outside the catalogue"),
        ({"user_lists": ints([[-2], [0]])}, "outside the catalogue"),
        ({"user_lists": ints([[0]])}, "expected"),
        ({"similar_lists": ints([[0], [0]])}, "expected"),
        ({"popular": ints([9])}, "outside the catalogue"),
        ({"popular": ints([])}, "empty"),
    ],
)
def test_what_could_not_be_served_is_not_written(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """Repeated ids, wrong shapes, rows outside the catalogue and no popular items are refused on writing."""
    good: dict[str, object] = {
        "user_ids": ["u1", "u2"],
        "item_ids": ["a", "b", "c"],
        "user_lists": ints([[0], [1]]),
        "similar_lists": ints([[1], [2], [0]]),
        "popular": ints([0]),
    }
    with pytest.raises(ArtifactInvalidError, match=message):
        ranked_lists.write(tmp_path, **{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "users.arrow",
        "items.arrow",
        "user_lists.npy",
        "similar_lists.npy",
        "popular.npy",
        "user_index.npy",
        "item_index.npy",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_damaged_file_is_an_error_of_the_artifact(tmp_path: Path, name: str, damage: str) -> None:
    """Whichever file is missing, empty, cut or something else: the run is invalid, and nothing else is raised."""
    write_small(tmp_path)
    path = tmp_path / name
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:-3])
        case _:
            path.write_text("not an array")
    with pytest.raises(ArtifactInvalidError, match=name.split(".", maxsplit=1)[0]):
        RankedLists(tmp_path)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    """A file of objects would run code when it is loaded."""
    write_small(tmp_path)
    np.save(tmp_path / "popular.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactInvalidError, match="popular"):
        RankedLists(tmp_path)


@pytest.mark.parametrize("index", [[[0, 0], [0, 0]], [[2, 1], [0, 1]], [[1, 2], [0, 5]]])
def test_an_index_that_points_wrong_is_refused(tmp_path: Path, index: list[list[int]]) -> None:
    """An index is sorted and names every row once: else users would get the lists of others, or nothing."""
    write_small(tmp_path)
    np.save(tmp_path / "user_index.npy", np.array(index, dtype=np.uint64))
    with pytest.raises(ArtifactInvalidError, match="not a sorted index"):
        RankedLists(tmp_path)


@pytest.mark.parametrize("kind", ["columns", "types", "nulls"])
def test_tables_are_what_the_format_says(tmp_path: Path, kind: str) -> None:
    """Other columns, other types and ids that are null are refused."""
    write_small(tmp_path)
    table = {
        "columns": pa.table({"user": pa.array(["u1", "u2"])}),
        "types": pa.table({"user_id": pa.array([1, 2])}),
        "nulls": pa.table({"user_id": pa.array(["u1", None], pa.string())}),
    }[kind]
    with pa.OSFile(str(tmp_path / "users.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ArtifactInvalidError, match="users"):
        RankedLists(tmp_path)


def test_a_run_without_users_serves_popular_items(tmp_path: Path) -> None:
    """Nobody known yet is a start, not an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranked_lists.write(
            tmp_path,
            user_ids=[],
            item_ids=["a"],
            user_lists=np.empty((0, 5), dtype=np.int32),
            similar_lists=ints([[-1]]),
            popular=ints([0]),
        )
        model = RankedLists(tmp_path)
    assert model.recommend("u", 3) is None
    assert model.popular(3) == ["a"]
