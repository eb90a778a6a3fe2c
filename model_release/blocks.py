"""Counters of many processes, cut into blocks of time that are fixed in advance.

A test that may be looked at at any time needs blocks that do not move between two looks: their bounds follow from the
start of the trial and the width of the first one alone.  The first 240 have that width, then it doubles every 120
blocks, so that a day of trial has about a thousand, and the newest block is complete after 1/120 of the time so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_FIRST, _THEN = 240, 120
LARGEST = 2.0**53  # beyond it a counter no longer counts by one
PROCESS_LABELS = ("job", "instance")
Process = tuple[str, ...]  # the values of these labels


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
    def process(self) -> Process:
        """The process that counts: its ``job`` and ``instance``."""
        return process_of(self.labels)


def process_of(labels: Mapping[str, str]) -> Process:
    """Return the process that labels name."""
    return tuple(labels.get(name, "") for name in PROCESS_LABELS)


def unusable(series: Iterable[Series]) -> str | None:
    """Return why the samples are no counts; None: they are."""
    for one in series:
        seen = one.values[~np.isnan(one.values)]
        if not np.isfinite(seen).all():
            return f"series {_named(one)} has an infinite sample"
        if (seen < 0.0).any():
            return f"series {_named(one)} is negative ({seen.min():g}): it counts nothing"
        if (seen > LARGEST).any():
            return f"series {_named(one)} is {seen.max():g}: beyond 2^53 a counter does not count by one"
        if not len(seen):
            return f"series {_named(one)} has no sample that is a number"
    return None


@dataclass(frozen=True)
class Life:
    """What all series of one process tell of it: at which bound it was ``first`` seen, and where it was found restarted.

    ``restarts`` is (bounds,), True where a counter of the process had decreased.
    """

    first: int
    restarts: npt.NDArray[np.bool_]


def lives(series: Iterable[Series]) -> dict[Process, Life]:
    """Return the life of each process that any of ``series`` has a sample of."""
    found: dict[Process, Life] = {}
    for one in series:
        if not _ever(one.values):
            continue
        first = int(np.argmin(np.isnan(one.values)))
        held = _held(one.values)
        decreased = np.concatenate([[False], held[1:] < held[:-1]])
        known = found.get(one.process)
        found[one.process] = (
            Life(first, decreased) if known is None else Life(min(first, known.first), known.restarts | decreased)
        )
    return found


def vanished(series: Iterable[Series], alive: Iterable[Process], known: Mapping[Process, Life]) -> list[str]:
    """Return the series that ended although their process goes on and was not restarted since."""
    still = set(alive)
    return [
        _named(one)
        for one in series
        if one.process in still
        and _ever(one.values)
        and np.isnan(one.values[-1])
        and not known[one.process].restarts[_last(one.values) + 1 :].any()
    ]


def lacking(series: Iterable[Series], alive: Iterable[Process]) -> list[Process]:
    """Return the processes that none of ``series`` has a sample of at the last bound."""
    there = {one.process for one in series if len(one.values) and not np.isnan(one.values[-1])}
    return sorted(set(alive) - there)


def increments(series: Iterable[Series], known: Mapping[Process, Life], blocks: int) -> Floats:
    """Return how much all ``series`` together counted in each block: (blocks,).

    A decrease of any counter of a process is a restart of all of them: what counts is the value after it.  A gap keeps
    the last value.  A series that appears in a process that was seen before counted from 0; else what was before it is
    not counted.

    Args:
        series: with ``blocks`` + 1 values each.
        known: the processes, from :func:`lives` of all series that are judged together.
        blocks: how many there are.
    """
    total = np.zeros(blocks, dtype=np.float64)
    for one in series:
        if _ever(one.values):
            total += _increments(one.values, known[one.process])
    return total


def _increments(values: Floats, life: Life) -> Floats:
    missing = np.isnan(values)
    first = int(np.argmin(missing))
    held = _held(values)
    held[:first] = 0.0 if life.first < first else values[first]
    change = np.diff(held)
    for bound in np.flatnonzero(life.restarts[first + 1 :]) + first + 1:
        change[bound - 1] = 0.0 if missing[bound] else values[bound]
        if missing[bound]:  # it will begin at 0 again
            back = bound + int(np.argmin(missing[bound:]))
            if not missing[back]:
                change[back - 1] = values[back]
    return change


def _held(values: Floats) -> Floats:
    """Return the values with each gap filled by the last one before it; what is before the first stays NaN."""
    return values[np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))]


def _last(values: Floats) -> int:
    """Return the bound of the last sample."""
    return int(np.flatnonzero(~np.isnan(values))[-1])


def _ever(values: Floats) -> bool:
    return bool((~np.isnan(values)).any())


def _named(one: Series) -> str:
    name = one.labels.get("__name__", "")
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(one.labels.items()) if key != "__name__")
    return f"{name}{{{inner}}}"
