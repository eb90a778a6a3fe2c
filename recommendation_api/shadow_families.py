"""The families of a shadow trial, and where the numbers of one pair of runs stand in a row of them.

The label values of a pair are known beforehand, so all that is counted of it is a row of ``CELLS`` numbers: small enough for a
file of its own, which goes when the pair does (:mod:`recommendation_api.shadow_counts`).
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

Pair = tuple[str, str]
Outcome = Literal["scored", "failed", "dropped", "expired"]
OUTCOMES: tuple[Outcome, ...] = ("scored", "failed", "dropped", "expired")
VARIANTS = ("current", "candidate")
PAIR = ("current", "candidate")
PREFIX = "recommendation_shadow_"
_LIKENESS_BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_LATENCY_BUCKETS = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0)  # seconds


class Row(NamedTuple):
    """What was counted of one pair.

    Attributes:
        cells: ``CELLS`` numbers, in the order of ``FAMILIES``.
        created: Unix time at which counting began; None: it is not exported, as several processes began at several times.
    """

    cells: Sequence[float]
    created: float | None = None


@dataclass(frozen=True)
class Counts:
    """A counter with one label beside the pair: a cell for each value of it; ``start``: place of the first one."""

    name: str
    text: str
    label: str
    values: tuple[str, ...]
    start: int = 0

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.values)

    def metric(self, rows: Mapping[Pair, Row]) -> Metric:
        """Return the family with the samples of all pairs."""
        family = CounterMetricFamily(f"{PREFIX}{self.name}", self.text, labels=[*PAIR, self.label])
        for pair, row in rows.items():
            for place, value in enumerate(self.values, start=self.start):
                family.add_metric([*pair, value], row.cells[place], created=row.created)
        return family


@dataclass(frozen=True)
class Histogram:
    """A histogram: a cell for each bucket, not cumulated, one for what is above all ``bounds``, and the sum."""

    name: str
    text: str
    bounds: tuple[float, ...]  # each one belongs to the bucket below it
    start: int = 0

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.bounds) + 2

    @property
    def sum(self) -> int:
        """Place of the sum."""
        return self.start + self.size - 1

    def metric(self, rows: Mapping[Pair, Row]) -> Metric:
        """Return the family with the samples of all pairs."""
        family = HistogramMetricFamily(f"{PREFIX}{self.name}", self.text, labels=PAIR)
        bounds = [str(floatToGoString(bound)) for bound in (*self.bounds, float("inf"))]  # type: ignore[no-untyped-call]  # published without types
        for pair, row in rows.items():
            upto = itertools.accumulate(row.cells[self.start : self.sum])
            family.add_metric(pair, list(zip(bounds, upto, strict=True)), row.cells[self.sum])
            if row.created is not None:
                family.add_sample(f"{family.name}_created", dict(zip(PAIR, pair, strict=True)), row.created)
        return family


_Family = TypeVar("_Family", Counts, Histogram)
CELLS = 0


def _placed(family: _Family) -> _Family:
    """Return ``family`` behind all those before it."""
    global CELLS
    start, CELLS = CELLS, CELLS + family.size
    return replace(family, start=start)


REQUESTS = _placed(Counts("requests", "Requests drawn for a shadow candidate", "outcome", OUTCOMES))
OVERLAP = _placed(Histogram("overlap", "Share of items that both lists name", _LIKENESS_BUCKETS))
RBO = _placed(Histogram("rbo", "Rank-biased overlap of both lists, p = 0.9, extrapolated", _LIKENESS_BUCKETS))
EMPTY = _placed(Counts("empty", "Lists without items", "variant", VARIANTS))
ITEMS = _placed(Counts("items", "Items of the lists", "variant", VARIANTS))
POPULAR = _placed(Counts("popular_items", "Items among the current run's 100 most popular", "variant", VARIANTS))
LATENCY = _placed(Histogram("latency_seconds", "Time of the candidate for one list", _LATENCY_BUCKETS))
SERVED_LATENCY = _placed(
    Histogram("served_latency_seconds", "Time of the current run for the same list", _LATENCY_BUCKETS)
)
FAMILIES: tuple[Counts | Histogram, ...] = (
    REQUESTS, OVERLAP, RBO, EMPTY, ITEMS, POPULAR, LATENCY, SERVED_LATENCY,
)  # fmt: skip
LAYOUT = float(zlib.crc32(repr(FAMILIES).encode()))  # another one: the numbers mean something else
