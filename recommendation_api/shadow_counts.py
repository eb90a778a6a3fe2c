"""Where the counts of shadow trials stand: a row of numbers for each pair of runs, of the last pairs only.

With several worker processes each has a file of its own for each pair, ``<folder>/<slot>~<current>~<candidate>``, and counts in
it through memory: whoever is scraped adds up the files of all slots.  Only the process in a slot makes or removes that slot's
files, so a file has one writer and needs no lock between processes.  One that dies leaves its files, and its successor goes on
counting in them.  docs/decisions/0112-shadow-counts-of-our-own.md says why these are not the client library's.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from recommendation_api.shadow_families import CELLS, LAYOUT, Pair, Row

MOST_PAIRS = 4  # exported
KEPT_PAIRS = 2 * MOST_PAIRS  # a process that missed a short trial may still export what another one would have dropped
_FILE = struct.Struct(f"={1 + CELLS}d")  # the layout, and the cells
_BETWEEN = "~"  # no run id has one
_T = TypeVar("_T")


class Cells:
    """The row of one pair in one process; any thread may count.  Counts after the pair was dropped go nowhere."""

    def __init__(self, view: memoryview[float]) -> None:
        self._view = view
        self._lock = threading.Lock()

    def add(self, amounts: Iterable[tuple[int, float]]) -> None:
        """Add to some cells: place and amount of each."""
        view = self._view
        with self._lock:
            for place, amount in amounts:
                view[place] += amount

    def values(self) -> list[float]:
        """Return all cells."""
        with self._lock:
            return [float(value) for value in self._view]


def last(kept: Mapping[Pair, _T], pair: Pair, value: _T, most: int) -> dict[Pair, _T]:
    """Return ``kept`` with ``pair`` as the last one, and without the first ones that are too much.

    It is another mapping: whoever reads the old one in another thread sees no pair missing.
    """
    others = [(key, other) for key, other in kept.items() if key != pair]
    return dict([*others, (pair, value)][-most:])


class PairCounts(Protocol):
    """The rows of the last pairs."""

    def open(self, pair: Pair) -> Cells:
        """Return the row of this process for ``pair``, which is the last one now; the oldest ones are dropped.

        Raises:
            OSError: there is no space for it.
        """

    def read(self) -> Mapping[Pair, Row]:
        """Return what all processes counted together."""


class CountsInMemory:
    """Those of a replica that is one process."""

    def __init__(self) -> None:
        self._kept: dict[Pair, tuple[Cells, float]] = {}  # with the Unix time of the beginning; opened last stands last

    def open(self, pair: Pair) -> Cells:
        """See :class:`PairCounts`."""
        found = self._kept.get(pair) or (Cells(memoryview(bytearray(8 * CELLS)).cast("d")), time.time())
        self._kept = last(self._kept, pair, found, KEPT_PAIRS)
        return found[0]

    def read(self) -> Mapping[Pair, Row]:
        """See :class:`PairCounts`."""
        return {pair: Row(cells.values(), created) for pair, (cells, created) in self._kept.items()}


class CountsInFiles:
    """Those of a replica of several processes.

    Args:
        folder: the one that they share.
        slot: of this process, the only one in it.
    """

    def __init__(self, folder: Path, slot: int) -> None:
        self._folder = folder
        self._slot = slot
        self._kept: dict[Pair, Cells] = {}  # of this process; opened last stands last

    def open(self, pair: Pair) -> Cells:
        """See :class:`PairCounts`."""
        known = self._kept.get(pair)
        cells = known or Cells(self._map(pair))
        self._kept = last(self._kept, pair, cells, KEPT_PAIRS)
        if known is None:
            self._drop_old()
        return cells

    def read(self) -> Mapping[Pair, Row]:
        """See :class:`PairCounts`."""
        sums: dict[Pair, list[float]] = {}
        for path in self._folder.glob(_BETWEEN.join("***")):
            values = _read(path)
            if values is not None:
                pair = _pair_of(path)
                sums[pair] = [one + other for one, other in zip(sums.get(pair, [0.0] * CELLS), values, strict=True)]
        return {pair: Row(cells) for pair, cells in sums.items()}

    def _map(self, pair: Pair) -> memoryview[float]:
        """Return the cells of a file; it is there with all its bytes before anybody can see it, or map it."""
        path = self._path(pair)
        if _read(path) is None:
            new = self._folder / f".{self._slot}.new"
            new.write_bytes(_FILE.pack(LAYOUT, *[0.0] * CELLS))
            new.replace(path)
        with path.open("r+b") as file:
            return memoryview(mmap.mmap(file.fileno(), _FILE.size)).cast("d")[1:]

    def _drop_old(self) -> None:
        """Remove the oldest files of this slot, until all that are left are few; those of dead predecessors go first."""
        there = list(self._folder.glob(_BETWEEN.join([str(self._slot), "*", "*"])))
        left = sorted(
            (path for path in there if _pair_of(path) not in self._kept), key=lambda path: path.stat().st_mtime
        )
        for path in left[: max(0, len(there) - KEPT_PAIRS)]:
            path.unlink()

    def _path(self, pair: Pair) -> Path:
        return self._folder / _BETWEEN.join([str(self._slot), *pair])


def _pair_of(path: Path) -> Pair:
    _, current, candidate = path.name.split(_BETWEEN)
    return current, candidate


def _read(path: Path) -> list[float] | None:
    """Return the cells of a file; None: it is gone, or made by a version that counts something else.

    They are read through memory, where a number is read as a whole while another process writes it.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != _FILE.size:
            return None
        with mmap.mmap(file.fileno(), _FILE.size, access=mmap.ACCESS_READ) as mapped:
            layout, *cells = _numbers(mapped)
        return cells if layout == LAYOUT else None
    return None


def _numbers(mapped: mmap.mmap) -> list[float]:
    with memoryview(mapped) as raw, raw.cast("d") as numbers:
        return list(numbers)
