"""Counters of many processes, cut into blocks of time that are fixed in advance.

A test that may be looked at at any time needs blocks that do not move between two looks: their bounds follow from the
start of the trial and the width of the first one alone.  The first 240 have that width, then it doubles every 120
blocks, so that a day of trial has about a thousand, and the newest block is complete after 1/120 of the time so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def process(self) -> Process:
        """The process that counts: its ``job`` and ``instance``."""
        return process_of(self.labels)


def process_of(labels: Mapping[str, str]) -> Process:
    """Return the process that labels name."""
    return tuple(labels.get(name, "") for name in PROCESS_LABELS)


def unusable(series: Iterable[Series]) -> str | None:
    """Return why the samples are no counts; None: they are."""
    found = list(series)
    if found and _plain(np.stack([one.values for one in found])):
        return None
    for one in found:
        if not _ever(one.values):
            return f"series {_named(one)} has no sample that is a number"
        least, most = float(np.fmin.reduce(one.values)), float(np.fmax.reduce(one.values))
        if math.isinf(least) or math.isinf(most):
            return f"series {_named(one)} has an infinite sample"
        if least < 0.0:
            return f"series {_named(one)} is negative ({least:g}): it counts nothing"
        if most > LARGEST:
            return f"series {_named(one)} is {most:g}: beyond 2^53 a counter does not count by one"
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
    members: dict[Process, list[Floats]] = {}
    for one in series:
        if _ever(one.values):
            members.setdefault(one.process, []).append(one.values)
    return {process: _life(np.stack(values)) for process, values in members.items()}


def _life(values: Floats) -> Life:
    """Return the life of a process from its series, each with a sample: (series, bounds)."""
    missing = np.isnan(values)
    some = missing.any(axis=1)
    first = int(missing[some].argmin(axis=1).min()) if some.all() else 0
    held = values.copy() if some.any() else values
    for row in np.flatnonzero(some):
        held[row] = _held(values[row], missing[row])
    decreased = np.zeros(values.shape[1], dtype=np.bool_)
    (held[:, 1:] < held[:, :-1]).any(axis=0, out=decreased[1:])
    return Life(first, decreased)


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
    restarted = {process for process, life in known.items() if life.restarts.any()}
    simple: list[Floats] = []
    for one in series:
        if not _ever(one.values):
            continue
        if one.process in restarted or np.isnan(one.values).any():
            total += _increments(one.values, known[one.process])
        else:
            simple.append(one.values)
    return total + np.diff(np.stack(simple), axis=1).sum(axis=0) if simple else total


def _increments(values: Floats, life: Life) -> Floats:
    missing = np.isnan(values)
    first = int(np.argmin(missing))
    held = _held(values, missing)
    if first:
        held[:first] = 0.0 if life.first < first else values[first]
    change = held[1:] - held[:-1]
    for bound in np.flatnonzero(life.restarts) if life.restarts.any() else ():
        if bound <= first:
            continue
        change[bound - 1] = 0.0 if missing[bound] else values[bound]
        if missing[bound]:  # it will begin at 0 again
            back = bound + int(np.argmin(missing[bound:]))
            if not missing[back]:
                change[back - 1] = values[back]
    return change


def _held(values: Floats, missing: npt.NDArray[np.bool_]) -> Floats:
    """Return the values with each gap filled by the last one before it; what is before the first stays NaN."""
    if not missing.any():
        return values
    return values[np.maximum.accumulate(np.where(missing, 0, np.arange(len(values))))]


def _plain(values: Floats) -> bool:
    """Return whether all are counts, none missing."""
    return bool(values.size and values.min() >= 0.0 and values.max() <= LARGEST)


def _last(values: Floats) -> int:
    """Return the bound of the last sample."""
    return int(np.flatnonzero(~np.isnan(values))[-1])


def _ever(values: Floats) -> bool:
    return len(values) > 0 and not (math.isnan(values[-1]) and bool(np.isnan(values).all()))


def _named(one: Series) -> str:
    name = one.labels.get("__name__", "")
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(one.labels.items()) if key != "__name__")
    return f"{name}{{{inner}}}"
