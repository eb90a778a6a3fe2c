"""What all serving formats have in common: who the users and items are, and what is popular."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_release import limits
from model_release.adapters.ids import Ids, write_index
from model_release.adapters.npy import check_rows, map_array, write_array
from model_release.adapters.run_files import RunFiles
from model_release.adapters.tables import read_table, write_table
from model_release.errors import ArtifactInvalidError


class Catalogue:
    """Users, items and popular items of a run.

    Attributes:
        users: ids of the n users.
        items: ids of the m items.
    """

    def __init__(self, files: RunFiles) -> None:
        """Map the files of a run.

        Raises:
            ArtifactInvalidError: a file is missing, malformed, or points outside the catalogue.
        """
        users = read_table(files.open("users.arrow"), ("user_id",), rows=limits.USERS)
        items = read_table(files.open("items.arrow"), ("item_id", "name"), rows=limits.ITEMS)
        self.users = Ids(users["user_id"], files.open("user_index.npy"))
        self.items = Ids(items["item_id"], files.open("item_index.npy"))
        self._names = items["name"]
        file = files.open("popular.npy")
        self._popular = map_array(file, "<i4", (None,), longest=limits.LIST_LENGTH)
        check_rows(self._popular, 0, len(self.items), file.path)
        if len(self._popular) == 0:
            raise ArtifactInvalidError(f"{file.path} is empty: unknown users would get nothing")

    def popular(self, k: int) -> list[str]:
        """Return the ``k`` most popular items, best first."""
        return self.items.names(self._popular[:k].tolist())

    def item_name(self, item_id: str) -> str | None:
        """Return the name of an item, None if it has none or is unknown."""
        row = self.items.row(item_id)
        name: str | None = None if row is None else self._names[row].as_py()
        return name


def write(
    folder: Path,
    *,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    item_names: Sequence[str | None] | None,
    popular: npt.NDArray[np.int32],
) -> None:
    """Write the files that every format has.

    Raises:
        ArtifactInvalidError: ids repeat, or there are not as many names as items.
        OSError: the disk is full.
    """
    names = [None] * len(item_ids) if item_names is None else item_names
    if len(names) != len(item_ids):
        raise ArtifactInvalidError(f"there are {len(names)} names for {len(item_ids)} items")
    write_table(folder / "users.arrow", {"user_id": user_ids})
    write_table(folder / "items.arrow", {"item_id": item_ids, "name": names})
    write_index(folder / "user_index.npy", user_ids)
    write_index(folder / "item_index.npy", item_ids)
    write_array(folder / "popular.npy", popular, "<i4")
