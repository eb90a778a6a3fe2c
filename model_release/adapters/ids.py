"""Ids and their rows: a table of ids, and an index of their hashes that finds an id without reading the others.

The index is uint64 (2, rows): the 64-bit hashes in rising order, and the row of each.  The hash is BLAKE2b with 8 bytes,
little endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_release.adapters.npy import map_array, write_array
from model_release.adapters.run_files import OpenFile
from model_release.errors import ArtifactInvalidError


class Ids:
    """The ids of users or of items."""

    def __init__(self, ids: Any, index: OpenFile) -> None:
        """Take a ``pyarrow.StringArray`` and the file with its index.

        Raises:
            ArtifactInvalidError: the index is not one of so many rows.
        """
        self._ids = ids
        mapped = map_array(index, "<u8", (2, len(ids)))
        _check_index(mapped, index.path)
        self._hashes, self._rows = mapped

    def __len__(self) -> int:
        return len(self._ids)

    def row(self, identifier: str) -> int | None:
        """Return the row of an id, None if there is no such id."""
        try:
            wanted = np.uint64(hash_of(identifier))
        except UnicodeEncodeError:  # a lone surrogate is nobody's id
            return None
        hashes, rows = self._hashes, self._rows
        position = int(hashes.searchsorted(wanted))
        while position < len(hashes) and hashes[position] == wanted:
            row = int(rows[position])
            if self._ids[row].as_py() == identifier:
                return row
            position += 1
        return None

    def names(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of some rows, in their order."""
        ids = self._ids
        return [ids[row].as_py() for row in rows]


def hash_of(identifier: str) -> int:
    """Return the hash by which an id is found."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")


def write_index(path: Path, ids: Sequence[str]) -> None:
    """Write the index of ``ids``.

    Raises:
        ArtifactInvalidError: an id comes twice.
    """
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise ArtifactInvalidError(f"{path.stem}: ids repeat: {repeated} of {len(ids)} are duplicates")
    hashes = np.fromiter((hash_of(identifier) for identifier in ids), np.uint64, len(ids))
    order = np.argsort(hashes, kind="stable")
    write_array(path, np.stack([hashes[order], order.astype(np.uint64)]), "<u8")


def _check_index(index: npt.NDArray[np.uint64], path: Path) -> None:
    hashes, targets = index
    rows = len(hashes)
    named = np.zeros(rows, np.bool_)
    if not np.any(targets >= rows):
        named[targets] = True
    if np.any(hashes[1:] < hashes[:-1]) or not named.all():
        raise ArtifactInvalidError(f"{path} is not a sorted index of {rows} rows")
