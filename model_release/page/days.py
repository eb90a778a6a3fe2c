"""Promised against observed, day by day: one line for each metric of users who got the current run, or a trial."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from model_release.artifact import Frozen
from model_release.reconciling.document import Document

MOST_DAYS = 14


class DayPoint(Frozen):
    """What one run showed on one day; ``complete``: the day was over when it was looked at."""

    date: dt.date
    complete: bool
    run_id: str | None
    users: int
    mean: float | None
    lower: float | None
    upper: float | None
    promised: float | None
    result: str
    reason: str


class Strip(Frozen):
    """One metric, oldest day first; two runs that served on the same day are two points."""

    metric: str
    variant: str
    points: tuple[DayPoint, ...]


class Days(Frozen):
    """The days from ``first`` to ``last``; ``missing`` of them nobody looked at, or what was written can't be read."""

    first: dt.date
    last: dt.date
    zone: str
    missing: tuple[dt.date, ...]
    strips: tuple[Strip, ...]


def days(documents: Iterable[Document], *, run_id: str | None = None) -> Days | None:
    """Return the last ``MOST_DAYS`` days up to the newest document; None: there is none.

    Args:
        documents: reconciliations, in any order, one for a day.
        run_id: tell only of this run, from the first to the last day on which it served.
    """
    found = {one.date: one for one in documents if run_id is None or any(run.run_id == run_id for run in one.runs)}
    if not found:
        return None
    last = max(found)
    first = max(min(found), last - dt.timedelta(days=MOST_DAYS - 1))
    between = [first + dt.timedelta(days=day) for day in range((last - first).days + 1)]
    strips: dict[tuple[str, str], list[DayPoint]] = {}
    for day in between:
        for variant, metric, point in _points(found[day], run_id) if day in found else ():
            strips.setdefault((variant, metric), []).append(point)
    return Days(
        first=first,
        last=last,
        zone=found[last].zone,
        missing=tuple(day for day in between if day not in found),
        strips=tuple(
            Strip(metric=metric, variant=variant, points=tuple(points)) for (variant, metric), points in strips.items()
        ),
    )


def _points(document: Document, run_id: str | None) -> Iterable[tuple[str, str, DayPoint]]:
    for run in document.runs:
        if run_id is not None and run.run_id != run_id:
            continue
        for metric, measured in run.metrics.items():
            facts = measured.model_dump(exclude={"standard_error", "promised_standard_error", "floor"})
            yield (
                run.variant,
                metric,
                DayPoint(date=document.date, complete=document.complete, run_id=run.run_id, **facts),
            )
