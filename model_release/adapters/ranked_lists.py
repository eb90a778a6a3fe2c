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

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_release import limits
from model_release.adapters import catalogue
from model_release.adapters.catalogue import Catalogue
from model_release.adapters.npy import check_rows, map_array, write_array
from model_release.adapters.prefault import prefault
from model_release.adapters.run_files import RunFiles, files_of

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
        OSError: the disk is full; the message says of which file how many bytes were missing.
    """
    catalogue.write(folder, user_ids=user_ids, item_ids=item_ids, item_names=item_names, popular=popular)
    write_array(folder / "user_lists.npy", user_lists, "<i4")
    write_array(folder / "similar_lists.npy", similar_lists, "<i4")
    RankedLists(folder)


class RankedLists:
    """A run in this format, mapped into memory and checked."""

    blocking = False  # an answer takes microseconds

    def __init__(self, run: Path | RunFiles) -> None:
        """Map the files of a folder.

        Raises:
            ArtifactInvalidError: a file is missing, has another type or shape, or points outside the catalogue.
        """
        with files_of(run) as files:
            self._catalogue = Catalogue(files)
            self._user_lists = self._lists(files, "user_lists.npy", self.users)
            self._similar_lists = self._lists(files, "similar_lists.npy", self.items)
            self._mappings = files.mappings()

    def _lists(self, files: RunFiles, name: str, rows: int) -> Ints:
        file = files.open(name)
        lists: Ints = map_array(file, "<i4", (rows, None), longest=limits.LIST_LENGTH)
        check_rows(lists, PADDING, self.items, file.path)
        return lists

    @property
    def depth(self) -> int:
        """Longest list that can be answered."""
        return int(self._user_lists.shape[1])

    @property
    def users(self) -> int:
        """Number of known users."""
        return len(self._catalogue.users)

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return len(self._catalogue.items)

    def prefault(self) -> None:
        """Bring all files into memory; takes milliseconds, best in a thread."""
        prefault(self._mappings)

    def recommend(self, user_id: str, k: int) -> list[str] | None:
        """Return at most ``k`` item ids for a user, best first; None for an unknown user."""
        row = self._catalogue.users.row(user_id)
        return None if row is None else self._names_of(self._user_lists[row, :k])

    def similar(self, item_id: str, k: int) -> list[str] | None:
        """Return at most ``k`` items like ``item_id``, best first; None for an unknown item."""
        row = self._catalogue.items.row(item_id)
        return None if row is None else self._names_of(self._similar_lists[row, :k])

    def popular(self, k: int) -> list[str]:
        """Return the ``k`` most popular items, best first."""
        return self._catalogue.popular(k)

    def item_name(self, item_id: str) -> str | None:
        """Return the name of an item, None if it has none or is unknown."""
        return self._catalogue.item_name(item_id)

    def _names_of(self, rows: Ints) -> list[str]:
        return self._catalogue.items.names(row for row in rows.tolist() if row != PADDING)
