"""Counters of many processes, cut into blocks of time that are fixed in advance.

A test that may be looked at at any time needs blocks that do not move between two looks: their bounds follow from the
start of the trial and the width of the first one alone.  The first 240 have that width, then it doubles every 120
blocks, so that a day of trial has about a thousand, and the newest block is complete after 1/120 of the time so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_FIRST, _THEN = 240, 120
_LARGEST = 2.0**53  # beyond it a counter no longer counts by one
PROCESS_LABELS = ("job", "instance")


@dataclass(frozen=True)
class Segment:
    """A stretch of blocks of equal width: Unix times ``start``, ``start + step``, ... ``end``."""

    start: float
    end: float
    step: float

    @property
    def bounds(self) -> Floats:
        """Both ends and all bounds between: (blocks + 1,)."""
        return self.start + self.step * np.arange(round((self.end - self.start) / self.step) + 1, dtype=np.float64)


def segments(started_at: float, until: float, step: float) -> list[Segment]:
    """Return the complete blocks between ``started_at`` and ``until`` (Unix times), widening as the trial goes on."""
    found: list[Segment] = []
    start, width, length = started_at, step, _FIRST
    while until - start >= width:
        complete = min(length, math.floor((until - start) / width))
        found.append(Segment(start, start + complete * width, width))
        start, width, length = start + length * width, 2.0 * width, _THEN
    return found


def bounds(started_at: float, until: float, step: float) -> Floats:
    """Return the bounds of all complete blocks, each once: (blocks + 1,); empty without a complete block."""
    parts = [segment.bounds for segment in segments(started_at, until, step)]
    return np.concatenate([parts[0][:1], *(part[1:] for part in parts)]) if parts else np.empty(0)


@dataclass(frozen=True)
class Series:
    """One series at the bounds of the blocks: ``values`` is (bounds,), NaN where there is no sample."""

    labels: Mapping[str, str]
    values: Floats

    @property
    def process(self) -> tuple[str, ...]:
        """The process that counts: its ``job`` and ``instance``."""
        return tuple(self.labels.get(name, "") for name in PROCESS_LABELS)


def unusable(series: Iterable[Series]) -> str | None:
    """Return why the samples are no counts; None: they are."""
    for one in series:
        seen = one.values[~np.isnan(one.values)]
        if not np.isfinite(seen).all():
            return f"series {_named(one)} has an infinite sample"
        if (seen < 0.0).any():
            return f"series {_named(one)} is negative ({seen.min():g}): it counts nothing"
        if (seen > _LARGEST).any():
            return f"series {_named(one)} is {seen.max():g}: beyond 2^53 a counter does not count by one"
        if not len(seen):
            return f"series {_named(one)} has no sample that is a number"
    return None


def vanished(series: Iterable[Series], alive: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the series that ended although their process is still there and others of its series go on."""
    still = set(alive)
    return [_named(one) for one in series if one.process in still and np.isnan(one.values[-1]) and _ever(one.values)]


def first_seen(groups: Sequence[Sequence[Series]]) -> dict[tuple[str, ...], int]:
    """Return at which bound any series of each process was first seen."""
    found: dict[tuple[str, ...], int] = {}
    for one in (one for group in groups for one in group):
        if _ever(one.values):
            first = int(np.argmin(np.isnan(one.values)))
            found[one.process] = min(first, found.get(one.process, first))
    return found


def increments(series: Sequence[Series], known: Mapping[tuple[str, ...], int], blocks: int) -> Floats:
    """Return how much all ``series`` together counted in each block: (blocks,).

    A decrease is a restart: what counts is the value after it.  A gap keeps the last value.  A series that appears in a
    process that was seen before (``known``, from :func:`first_seen`) counted from 0; else what was before is not counted.
    """
    total = np.zeros(blocks, dtype=np.float64)
    for one in series:
        total += _increments(one.values, known.get(one.process, 0))
    return total


def _increments(values: Floats, process_first: int) -> Floats:
    if not _ever(values):
        return np.zeros(max(0, len(values) - 1))
    first = int(np.argmin(np.isnan(values)))
    held = values[np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))]
    held[:first] = 0.0 if process_first < first else values[first]
    change = np.diff(held)
    return np.where(change < 0.0, held[1:], change)


def _ever(values: Floats) -> bool:
    return bool((~np.isnan(values)).any())


def _named(one: Series) -> str:
    name = one.labels.get("__name__", "")
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(one.labels.items()) if key != "__name__")
    return f"{name}{{{inner}}}"
