"""Serving format ``factors`` version 1: vectors of users and items; the best items are computed at every request.

Files (n users, m items, f factors, z seen pairs):
    users.arrow, items.arrow, user_index.npy, item_index.npy, popular.npy    as in ``ranked_lists``
    user_factors.npy     float32 (n, f)
    item_factors.npy     float32 (m, f)
    item_bias.npy        float32 (m,), optional: added to every inner product
    seen_offsets.npy     int64 (n + 1,), with ``exclude_seen``: where the seen items of each user begin and end
    seen_items.npy       int32 (z,), with ``exclude_seen``: rows of items.arrow
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from model_release import limits
from model_release.adapters import catalogue, scoring
from model_release.adapters.catalogue import Catalogue
from model_release.adapters.npy import check_numbers, check_rows, map_array, write_array
from model_release.adapters.prefault import prefault
from model_release.adapters.run_files import RunFiles, files_of
from model_release.adapters.scoring import Doubles, Floats, HalfPrecision, Rows, Scores, SinglePrecision
from model_release.artifact import FactorsFormat
from model_release.errors import ArtifactInvalidError

LARGE = 100_000  # items; from here on a request takes about a millisecond, and float16 pays
_NO_ROWS: Rows = np.empty(0, np.intp)


@dataclass(frozen=True)
class Seen:
    """What each user has had: items ``items[offsets[u]:offsets[u + 1]]``, in any order.

    Attributes:
        offsets: int64 (n + 1,).
        items: int32 (z,), rows of the catalogue.
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]

    def of(self, user: int) -> Rows:
        """Return the rows that a user has had."""
        return self.items[self.offsets[user] : self.offsets[user + 1]].astype(np.intp)


def write(
    folder: Path,
    serving: FactorsFormat,
    *,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    user_factors: Floats,
    item_factors: Floats,
    popular: npt.NDArray[np.int32],
    item_bias: Floats | None = None,
    seen: Seen | None = None,
    item_names: Sequence[str | None] | None = None,
) -> None:
    """Write the files of a run into ``folder``, and read them back as a replica would.

    Args:
        folder: an empty folder, usually from ``RunStore.staging``.
        serving: how they are to be served; goes into the manifest.
        user_ids: n distinct ids.
        item_ids: m distinct ids, the most popular first: equal scores are ranked in this order.
        user_factors: (n, f).
        item_factors: (m, f).
        popular: (p,) rows of the most popular items, best first: for users that nobody knows.
        item_bias: (m,) added to the scores.
        seen: needed with ``serving.exclude_seen``.
        item_names: m names to show, None where there is none.

    Raises:
        ArtifactInvalidError: it could not be served; the message says why.
        OSError: the disk is full; the message says of which file how many bytes were missing.
    """
    catalogue.write(folder, user_ids=user_ids, item_ids=item_ids, item_names=item_names, popular=popular)
    write_array(folder / "user_factors.npy", user_factors, "<f4")
    write_array(folder / "item_factors.npy", item_factors, "<f4")
    if item_bias is not None:
        write_array(folder / "item_bias.npy", item_bias, "<f4")
    if serving.exclude_seen:
        if seen is None:
            raise ArtifactInvalidError("exclude_seen needs what users have seen: pass seen=Seen(offsets, items)")
        write_array(folder / "seen_offsets.npy", seen.offsets, "<i8")
        write_array(folder / "seen_items.npy", seen.items, "<i4")
    Factors(folder, serving)


class Factors:
    """A run in this format, mapped into memory and checked."""

    def __init__(self, run: Path | RunFiles, serving: FactorsFormat) -> None:
        """Map the files of a folder; from ``LARGE`` items on, copy the items in float16.

        Raises:
            ArtifactInvalidError: a file is missing, has another type or shape, or values that can't be served.
        """
        with files_of(run) as files:
            self._catalogue = Catalogue(files)
            n, m = len(self._catalogue.users), len(self._catalogue.items)
            self._serving = serving
            user_file, item_file = files.open("user_factors.npy"), files.open("item_factors.npy")
            self._items: Floats = map_array(item_file, "<f4", (m, None), longest=limits.FACTORS)
            self._users: Floats = map_array(user_file, "<f4", (n, self._items.shape[1]))
            check_numbers(self._users, user_file.path)
            norms = scoring.norms_of(self._items, str(item_file.path))
            bias = _bias(files, m)
            self._seen = _seen(files, n, m) if serving.exclude_seen else None
            self._mappings = files.mappings()
        threadpool_limits(limits=1, user_api="blas")  # of this process: its neighbours need the other cores
        self._scores = Scores(self._items, bias=bias)
        longest = float(np.hypot(norms, 0.0 if bias is None else bias).max(initial=0.0))
        single = SinglePrecision(self._scores, longest)
        self._coarse = HalfPrecision(self._scores, longest, single) if self.blocking else single
        cosine = serving.similarity == "cosine"
        self._alike = Scores(self._items, weights=scoring.inverse(norms) if cosine else None)
        self._coarse_alike = SinglePrecision(self._alike, 1.0 if cosine else longest)

    @property
    def depth(self) -> int:
        """Longest list that is answered."""
        return min(self._serving.depth, self.items)

    @property
    def blocking(self) -> bool:
        """Whether an answer takes so long that it belongs into a thread: from ``LARGE`` items on."""
        return self.items >= LARGE

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
        """Return the ``k`` items with the highest scores, at most ``depth``, best first; None for an unknown user."""
        row = self._catalogue.users.row(user_id)
        if row is None:
            return None
        barred = _NO_ROWS if self._seen is None else self._seen.of(row)
        query: Doubles = self._users[row].astype(np.float64)
        rows, _ = scoring.best(self._scores, self._coarse, query, min(k, self.depth), barred)
        return self._catalogue.items.names(rows.tolist())

    def similar(self, item_id: str, k: int) -> list[str] | None:
        """Return the ``k`` items most like an item, at most ``depth``, best first; None for an unknown item.

        Likeness is the cosine or the inner product of the vectors, without bias; items where it is not positive are
        left out.
        """
        row = self._catalogue.items.row(item_id)
        if row is None:
            return None
        query: Doubles = self._items[row].astype(np.float64)
        if self._serving.similarity == "cosine":
            query *= scoring.inverse(np.array([np.linalg.norm(query)]))[0]
        if not query.any():
            return []
        barred = np.array([row], np.intp)
        rows, values = scoring.best(self._alike, self._coarse_alike, query, min(k, self.depth), barred)
        return self._catalogue.items.names(rows[values > 0].tolist())

    def popular(self, k: int) -> list[str]:
        """Return the ``k`` most popular items, best first."""
        return self._catalogue.popular(k)

    def item_name(self, item_id: str) -> str | None:
        """Return the name of an item, None if it has none or is unknown."""
        return self._catalogue.item_name(item_id)


def _bias(files: RunFiles, m: int) -> Floats | None:
    if "item_bias.npy" not in files.names():
        return None
    file = files.open("item_bias.npy")
    bias: Floats = map_array(file, "<f4", (m,))
    check_numbers(bias, file.path)
    return bias


def _seen(files: RunFiles, n: int, m: int) -> Seen:
    file = files.open("seen_offsets.npy")
    offsets = map_array(file, "<i8", (n + 1,))
    items = files.open("seen_items.npy")
    seen = Seen(offsets, map_array(items, "<i4", (None,), longest=limits.RUN_BYTES))
    if offsets[0] != 0 or offsets[-1] != len(seen.items) or np.any(offsets[1:] < offsets[:-1]):
        raise ArtifactInvalidError(f"{file.path} does not rise from 0 to the {len(seen.items)} of {items.path.name}")
    check_rows(seen.items, 0, m, items.path)
    return seen
