"""Answers of Prometheus' HTTP API, read so strictly that half an answer is never taken for a whole one.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/.  Values are strings there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from model_release.blocks import Floats
from model_release.errors import EvidenceError
from model_release.evidence import Point

SERIES = 5_000  # of one question
GRID_SECONDS = 0.0015  # Prometheus keeps milliseconds
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NaN|[+-]?Inf")

Labels = Mapping[str, str]
Identity = frozenset[tuple[str, str]]
Sample = tuple[float, str]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class VectorSeries(_Strict):
    """One series at one time."""

    metric: dict[str, str]
    value: Sample | None = None
    histogram: Any = None


class MatrixSeries(_Strict):
    """One series at several times."""

    metric: dict[str, str]
    values: tuple[Sample, ...] = ()
    histograms: Any = None


class Vector(_Strict):
    """What a query about one time gives."""

    resultType: Literal["vector"]  # noqa: N815  (Prometheus' own name)
    result: tuple[VectorSeries, ...]


class Matrix(_Strict):
    """What a range query gives."""

    resultType: Literal["matrix"]  # noqa: N815
    result: tuple[MatrixSeries, ...]


class Scalar(_Strict):
    """A number without labels."""

    resultType: Literal["scalar"]  # noqa: N815
    result: Sample


class Text(_Strict):
    """A string, which nothing here asks for."""

    resultType: Literal["string"]  # noqa: N815
    result: Sample


_Data = TypeVar("_Data")
AnyData = Annotated[Vector | Matrix | Scalar | Text, Field(discriminator="resultType")]


class Answer(_Strict, Generic[_Data]):
    """The envelope of every answer; ``infos`` and whatever else a later version adds is left aside."""

    status: Literal["success", "error"]
    data: _Data | None = None
    errorType: str = ""  # noqa: N815
    error: str = ""
    warnings: tuple[str, ...] | None = None

    def whole(self) -> _Data:
        """Return the data of an answer that is complete.

        Raises:
            EvidenceError: it is an error, partial, or holds nothing.
        """
        if self.status != "success":
            raise EvidenceError(f"Prometheus answered with an error: {self.errorType}: {self.error}")
        if self.warnings:
            raise EvidenceError(f"Prometheus warns that its answer may be partial: {self.warnings[0]}")
        if self.data is None:
            raise EvidenceError("Prometheus answered success without data")
        return self.data


def points_of(data: Vector | Matrix | Scalar | Text, at: float) -> tuple[Point, ...]:
    """Return the numbers of an answer about the time ``at``; NaN and infinities as they stand.

    Raises:
        EvidenceError: it holds something else than numbers about that time, or a series twice.
    """
    match data:
        case Scalar():
            return (Point({}, number(data.result[1], "the scalar"), _about(data.result[0], at)),)
        case Vector():
            check_series([series.metric for series in data.result])
            return tuple(_point(series, at) for series in data.result)
        case _:
            raise EvidenceError(f"Prometheus answered with a {data.resultType}, expected one number per series")


def fill(matrix: Matrix, times: Floats) -> dict[Identity, tuple[Labels, Floats]]:
    """Return the values of every series at ``times`` (n,), which have equal distances; NaN where it has no sample.

    Raises:
        EvidenceError: a series is there twice, is no series of numbers, or has a sample where none was asked for.
    """
    check_series([series.metric for series in matrix.result])
    return {identity(series.metric): (series.metric, _values(series, times)) for series in matrix.result}


def identity(labels: Labels) -> Identity:
    """Return what makes a series the same one in two answers: all its labels, its name among them."""
    return frozenset(labels.items())


def named(labels: Labels) -> str:
    """Return a series as one would write it."""
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()) if key != "__name__")
    return f"{labels.get('__name__', '')}{{{inner}}}"


def check_series(found: Sequence[Labels]) -> None:
    """Refuse an answer that holds a series twice, or far too many.

    Raises:
        EvidenceError: it does.
    """
    if len(found) > SERIES:
        raise EvidenceError(f"Prometheus answered with {len(found)} series, more than {SERIES}: narrow the selector")
    twice = _repeated(found)
    if twice is not None:
        raise EvidenceError(f"Prometheus answered with series {named(twice)} twice")


def number(text: str, what: str) -> float:
    """Return a value as Prometheus writes it.

    Raises:
        EvidenceError: it is no number.
    """
    if not _NUMBER.fullmatch(text):
        raise EvidenceError(f"{what} has the value {text[:40]!r}, which is not a number")
    return float(text)


def _repeated(found: Iterable[Labels]) -> Labels | None:
    seen: set[Identity] = set()
    for labels in found:
        key = identity(labels)
        if key in seen:
            return labels
        seen.add(key)
    return None


def _point(series: VectorSeries, at: float) -> Point:
    if series.histogram is not None or series.value is None:
        raise EvidenceError(f"series {named(series.metric)} is a native histogram or has no value: no number")
    time, text = series.value
    return Point(series.metric, number(text, f"series {named(series.metric)}"), _about(time, at))


def _about(time: float, at: float) -> float:
    if not abs(time - at) <= GRID_SECONDS:
        raise EvidenceError(
            f"Prometheus answered about another time, {time - at:+.1f} seconds off: is there a cache in between?"
        )
    return time


def _values(series: MatrixSeries, times: Floats) -> Floats:
    name = named(series.metric)
    if series.histograms is not None:
        raise EvidenceError(f"series {name} is a native histogram: no counter")
    if not series.values:
        raise EvidenceError(f"series {name} came without samples")
    values = np.full(len(times), np.nan)
    step = times[1] - times[0] if len(times) > 1 else 1.0
    last = -1
    for time, text in series.values:
        place = round((time - times[0]) / step)
        if not 0 <= place < len(times) or not abs(time - times[place]) <= GRID_SECONDS:
            raise EvidenceError(f"series {name} has a sample at {time:.3f}, which was not asked for")
        if place <= last:
            raise EvidenceError(f"series {name} has its samples out of order, or one of them twice, at {time:.3f}")
        last = place
        values[place] = number(text, f"series {name}")
        if np.isnan(values[place]):  # NaN stands for "no sample" from here on
            raise EvidenceError(f"series {name} is NaN at {time:.3f}: that counts nothing")
    return values
