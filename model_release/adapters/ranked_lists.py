"""Serving format ``ranked_lists`` version 1: every answer is a list computed beforehand, memory-mapped.

Any algorithm that can rank items for each user can be served this way, in the same few microseconds.

Files (n users, m items, d = list depth, s = depth of similar lists):
    users.arrow          Arrow IPC, column ``user_id`` string, n rows
    items.arrow          Arrow IPC, columns ``item_id`` string, ``name`` string (nullable), m rows
    user_lists.npy       int32 (n, d): rows of items.arrow, best first, padded at the end with -1
    similar_lists.npy    int32 (m, s): the same for items
    popular.npy          int32 (p,): most popular items, best first, no padding
    user_index.npy, item_index.npy   uint64 (2, n) / (2, m): sorted 64-bit hashes of the ids, and their rows
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model_release.artifact import Manifest, ServedModel
from model_release.errors import ArtifactInvalidError

Ints = npt.NDArray[np.int32]
PADDING = -1


def write(
    folder: Path,
    *,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    user_lists: Ints,
    similar_lists: Ints,
    popular: Ints,
    item_names: Sequence[str | None] | None = None,
) -> None:
    """Write the files of a run into ``folder``.

    Args:
        folder: an empty folder, usually from ``RunStore.staging``.
        user_ids: n distinct ids.
        item_ids: m distinct ids.
        user_lists: (n, d) rows of ``item_ids``, best first, padded with -1.
        similar_lists: (m, s) the same for each item.
        popular: (p,) the most popular items, best first.
        item_names: m names to show, None where there is none.

    Raises:
        ArtifactInvalidError: shapes do not fit, ids repeat, or a list points outside the catalogue.
    """
    names = list(item_names) if item_names is not None else [None] * len(item_ids)
    users, items = list(user_ids), list(item_ids)
    _write_table(folder / "users.arrow", {"user_id": pa.array(users, pa.string())})
    _write_table(
        folder / "items.arrow",
        {"item_id": pa.array(items, pa.string()), "name": pa.array(names, pa.string())},
    )
    arrays = {"user_lists": user_lists, "similar_lists": similar_lists, "popular": popular}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, dtype=np.int32), allow_pickle=False)
    np.save(folder / "user_index.npy", _index(users, "user"), allow_pickle=False)
    np.save(folder / "item_index.npy", _index(items, "item"), allow_pickle=False)
    RankedLists(folder)


class RankedLists:
    """A run in this format, mapped into memory and checked."""

    def __init__(self, folder: Path) -> None:
        """Map the files of ``folder``.

        Raises:
            ArtifactInvalidError: a file is missing, has another type or shape, or points outside the catalogue.
        """
        users = _read_table(folder / "users.arrow", ("user_id",))
        items = _read_table(folder / "items.arrow", ("item_id", "name"))
        self._user_ids = users.column("user_id").combine_chunks()
        self._item_ids = items.column("item_id").combine_chunks()
        self._names = items.column("name").combine_chunks()
        n, m = len(self._user_ids), len(self._item_ids)
        self._user_lists = _map(folder / "user_lists.npy", np.dtype(np.int32), (n, None), m)
        self._similar_lists = _map(folder / "similar_lists.npy", np.dtype(np.int32), (m, None), m)
        self._popular = _map(folder / "popular.npy", np.dtype(np.int32), (None,), m)
        self._user_index = _map(folder / "user_index.npy", np.dtype(np.uint64), (2, n), None)
        self._item_index = _map(folder / "item_index.npy", np.dtype(np.uint64), (2, m), None)
        _check_rows(self._user_index, n, folder / "user_index.npy")
        _check_rows(self._item_index, m, folder / "item_index.npy")
        if len(self._popular) == 0:
            raise ArtifactInvalidError(f"{folder}/popular.npy is empty: unknown users would get nothing")

    @property
    def depth(self) -> int:
        """Longest list that can be answered."""
        return int(self._user_lists.shape[1])

    @property
    def users(self) -> int:
        """Number of known users."""
        return len(self._user_ids)

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return len(self._item_ids)

    def recommend(self, user_id: str, k: int) -> list[str] | None:
        """Return at most ``k`` item ids for a user, best first; None for an unknown user."""
        row = _find(self._user_index, self._user_ids, user_id)
        return None if row is None else self._names_of(self._user_lists[row, :k])

    def similar(self, item_id: str, k: int) -> list[str] | None:
        """Return at most ``k`` items like ``item_id``, best first; None for an unknown item."""
        row = _find(self._item_index, self._item_ids, item_id)
        return None if row is None else self._names_of(self._similar_lists[row, :k])

    def popular(self, k: int) -> list[str]:
        """Return the ``k`` most popular items, best first."""
        return self._names_of(self._popular[:k])

    def item_name(self, item_id: str) -> str | None:
        """Return the name of an item, None if it has none or is unknown."""
        row = _find(self._item_index, self._item_ids, item_id)
        name: str | None = None if row is None else self._names[row].as_py()
        return name

    def _names_of(self, rows: Ints) -> list[str]:
        ids = self._item_ids
        return [ids[row].as_py() for row in rows.tolist() if row != PADDING]


def open_model(folder: Path, manifest: Manifest) -> ServedModel:
    """Load the data files of a run, in whichever serving format its manifest names.

    Raises:
        ArtifactInvalidError: a file is missing or malformed.
    """
    match manifest.serving.format:
        case "ranked_lists":
            return RankedLists(folder)


def _hash(identifier: str) -> int:
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")


def _index(ids: Sequence[str], what: str) -> npt.NDArray[np.uint64]:
    if len(set(ids)) != len(ids):
        raise ArtifactInvalidError(f"{what} ids repeat: {len(ids) - len(set(ids))} of {len(ids)} are duplicates")
    hashes = np.fromiter((_hash(identifier) for identifier in ids), np.uint64, len(ids))
    order = np.argsort(hashes, kind="stable")
    return np.stack([hashes[order], order.astype(np.uint64)])


def _find(index: npt.NDArray[np.uint64], ids: Any, identifier: str) -> int | None:
    try:
        wanted = np.uint64(_hash(identifier))
    except UnicodeEncodeError:  # a lone surrogate is nobody's id
        return None
    position = int(np.searchsorted(index[0], wanted))
    while position < index.shape[1] and index[0, position] == wanted:
        row = int(index[1, position])
        if ids[row].as_py() == identifier:
            return row
        position += 1
    return None


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read_table(path: Path, columns: tuple[str, ...]) -> Any:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise ArtifactInvalidError(f"{path} is not a readable Arrow file: {error}") from error
    if tuple(table.column_names) != columns or any(table.schema.field(name).type != pa.string() for name in columns):
        raise ArtifactInvalidError(f"{path} has columns {table.schema.names}, expected strings {list(columns)}")
    if table.column(columns[0]).null_count:
        raise ArtifactInvalidError(f"{path} has ids that are null")
    return table


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...], limit: int | None) -> Any:
    """Map an array and check type, shape and, for lists, that every value is a row of the catalogue or padding."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactInvalidError(f"{path} is not a readable array: {error}") from error
    fits = array.ndim == len(shape) and all(want in {None, got} for want, got in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        raise ArtifactInvalidError(f"{path} is {array.dtype} {array.shape}, expected {dtype} {shape}")
    if limit is not None and array.size and (array.min() < PADDING or array.max() >= limit):
        raise ArtifactInvalidError(f"{path} points outside the catalogue of {limit} items")
    return array


def _check_rows(index: Any, rows: int, path: Path) -> None:
    hashes, targets = index
    if rows and (np.any(hashes[1:] < hashes[:-1]) or not np.array_equal(np.sort(targets), np.arange(rows))):
        raise ArtifactInvalidError(f"{path} is not a sorted index of {rows} rows")
