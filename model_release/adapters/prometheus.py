"""Questions to Prometheus: its clock, the newest scrape of every replica, counters at the bounds of blocks, numbers.

A question that has no whole answer has a ``Missing`` for one: nothing is raised, and nothing is made up.  A range is
asked in segments of equal step, because Prometheus gives at most 11,000 points and blocks widen as a trial goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from model_release.adapters.http_source import HttpSource
from model_release.adapters.prometheus_answers import (
    Answer,
    AnyData,
    Identity,
    Labels,
    Matrix,
    check_series,
    fill,
    identity,
    named,
    points_of,
)
from model_release.blocks import Floats, Segment, Series
from model_release.errors import EvidenceError
from model_release.evidence import History, Missing, NumberQuery, Point, Points, RangeQuery, Scrape

Clock = Callable[[], float]
_QUERY, _QUERY_RANGE = "/api/v1/query", "/api/v1/query_range"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class PrometheusTime:
    """What Prometheus' clock says.

    Attributes:
        at: Unix time there, to the millisecond: everything is asked about this moment.
        offset_seconds: its time minus ours, at the middle of the question.
    """

    at: float
    offset_seconds: float


class Prometheus:
    """One Prometheus server, or what speaks like one; asks through an ``HttpSource`` that it does not own."""

    def __init__(self, source: HttpSource, *, clock: Clock = time.time) -> None:
        """Ask through ``source``; ``clock`` tells our time."""
        self._source = source
        self._clock = clock

    async def time(self) -> PrometheusTime | Missing:
        """Return the time there."""
        return await self._guarded(self._time())

    async def scrapes(self, selector: str, at: float) -> tuple[Scrape, ...] | Missing:
        """Return the newest scrape of each series of ``selector`` (such as ``up{job="api"}``) as of Unix time ``at``."""
        return await self._guarded(self._scrapes(selector, at))

    async def number(self, question: NumberQuery, at: float) -> Points | Missing:
        """Return what a query gives at Unix time ``at``."""
        return await self._guarded(self._points(question.query, at))

    async def history(self, question: RangeQuery, segments: Sequence[Segment]) -> History | Missing:
        """Return the series of a selector at the bounds of all ``segments``, which follow on each other."""
        return await self._guarded(self._history(question.selector, segments))

    async def _guarded(self, asked: Awaitable[_Found]) -> _Found | Missing:
        try:
            return await asked
        except EvidenceError as error:
            return Missing(self._source.plain(str(error)))

    async def _time(self) -> PrometheusTime:
        before = self._clock()
        answer = await self._source.ask("POST", _QUERY, Answer[AnyData], data={"query": "time()"})
        after = self._clock()
        data = answer.whole()
        if data.resultType != "scalar":
            raise EvidenceError(f"Prometheus answered time() with a {data.resultType}")
        (point,) = points_of(data, data.result[0])
        if not np.isfinite(point.value):
            raise EvidenceError(f"Prometheus answered time() with {point.value}")
        return PrometheusTime(at=round(point.value, 3), offset_seconds=point.value - (before + after) / 2.0)

    async def _points(self, query: str, at: float) -> Points:
        sent = {"query": query, "time": f"{at:.3f}"}
        answer = await self._source.ask("POST", _QUERY, Answer[AnyData], data=sent)
        return Points(points_of(answer.whole(), at))

    async def _scrapes(self, selector: str, at: float) -> tuple[Scrape, ...]:
        up, times = await asyncio.gather(self._points(selector, at), self._points(f"timestamp({selector})", at))
        scraped_at = {_nameless(point): point.value for point in times.points}
        found = {_nameless(point): point for point in up.points}
        if len(found) != len(up.points):
            raise EvidenceError(f"{selector} names several metrics: one series per replica is needed")
        if set(found) != set(scraped_at):
            raise EvidenceError(f"Prometheus tells the values of {len(found)} replicas and times of {len(scraped_at)}")
        for key, when in scraped_at.items():
            if not np.isfinite(when):
                raise EvidenceError(f"the newest scrape of {named(found[key].labels)} was at {when}: no time")
        return tuple(Scrape(point.labels, point.value, scraped_at[key]) for key, point in found.items())

    async def _history(self, selector: str, segments: Sequence[Segment]) -> History:
        parts = await asyncio.gather(*(self._range(selector, segment) for segment in segments))
        merged: dict[Identity, tuple[Labels, Floats]] = {}
        bounds = sum(len(segment.bounds) - 1 for segment in segments) + 1
        start = 0
        for segment, part in zip(segments, parts, strict=True):
            end = start + len(segment.bounds)
            _same_at_the_seam(merged, part, start)
            for key, (labels, values) in part.items():
                _, whole = merged.setdefault(key, (labels, np.full(bounds, np.nan)))
                whole[start:end] = values
            start = end - 1
        check_series([labels for labels, _ in merged.values()])
        return History(tuple(Series(labels, values) for labels, values in merged.values()))

    async def _range(self, selector: str, segment: Segment) -> dict[Identity, tuple[Labels, Floats]]:
        sent = {
            "query": selector,
            "start": f"{segment.start:.3f}",
            "end": f"{segment.end:.3f}",
            "step": f"{segment.step:.3f}",
        }
        answer = await self._source.ask("POST", _QUERY_RANGE, Answer[AnyData], data=sent)
        data = answer.whole()
        if not isinstance(data, Matrix):
            raise EvidenceError(f"Prometheus answered a range query with a {data.resultType}, expected a matrix")
        return fill(data, segment.bounds)


def _nameless(point: Point) -> Identity:
    return identity({name: value for name, value in point.labels.items() if name != "__name__"})


def _same_at_the_seam(
    merged: dict[Identity, tuple[Labels, Floats]], part: dict[Identity, tuple[Labels, Floats]], place: int
) -> None:
    """Refuse two segments that disagree at the bound that they share; ``place`` 0 is the first one's start."""
    if place == 0:
        return
    for key in merged.keys() | part.keys():
        labels = (merged.get(key) or part[key])[0]
        before = merged[key][1][place] if key in merged else np.nan
        after = part[key][1][0] if key in part else np.nan
        if not (before == after or (np.isnan(before) and np.isnan(after))):
            raise EvidenceError(
                f"two answers about series {named(labels)} disagree ({before:g} and {after:g} at the same time): is "
                "there a load balancer in front of several Prometheus servers?"
            )
