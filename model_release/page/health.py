"""How good the data is, and what was promised of the runs against what was observed."""

from __future__ import annotations

import datetime as dt
import math

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.evidence import DataQuality, Missing, Reconciliation
from model_release.page.days import Days
from model_release.page.part import Part, lacking, there
from model_release.page.quality_history import QualityHistory
from model_release.reconciling.document import Document

MOST_PROBLEMS = 10


class TableQuality(Frozen):
    """A table; ``score`` from 0 to 100, left out where it is no number; ``age_seconds`` of its newest row."""

    table: str
    score: float | None
    age_seconds: float | None
    worst_check: str | None


class Quality(Frozen):
    """The data as it was measured last, the worst table first."""

    measured_at: AwareDatetime | None
    tables: tuple[TableQuality, ...]


class Promise(Frozen):
    """One metric of one run: what was observed, with its interval, and what was promised."""

    run_id: str | None
    variant: str
    metric: str
    users: int
    mean: float | None
    lower: float | None
    upper: float | None
    promised: float | None
    floor: float | None
    result: str
    reason: str


class Reconciled(Frozen):
    """A day; ``complete``: it was over when it was looked at."""

    date: dt.date
    status: str
    complete: bool
    problems: tuple[str, ...]
    promises: tuple[Promise, ...]


class Health(Frozen):
    """Each may be lacking alone; ``history``: of the scores, ``days``: of the promises."""

    quality: Part[Quality]
    history: Part[QualityHistory]
    reconciliation: Part[Reconciled]
    days: Part[Days]


def quality(found: DataQuality | Missing) -> Part[Quality]:
    """Return the data's quality."""
    if isinstance(found, Missing):
        return lacking("missing", found.reason)
    tables = [
        TableQuality(
            table=table,
            score=_finite(score),
            age_seconds=_finite(found.data_age_seconds.get(table, math.nan)),
            worst_check=found.worst_checks.get(table),
        )
        for table, score in found.scores.items()
    ]
    tables.sort(key=lambda one: (-1.0 if one.score is None else one.score, one.table))
    measured = _finite(found.measured_at)
    return there(
        Quality(
            measured_at=None if measured is None else dt.datetime.fromtimestamp(measured, dt.UTC), tables=tuple(tables)
        )
    )


def reconciled(found: Reconciliation | Missing) -> Part[Reconciled]:
    """Return what a day came to; a file that is not ours has no promises."""
    if isinstance(found, Missing):
        return lacking("missing", found.reason)
    ours = found if isinstance(found, Document) else None
    promises = [
        Promise(
            run_id=run.run_id,
            variant=run.variant,
            metric=metric,
            **measured.model_dump(exclude={"standard_error", "promised_standard_error"}),
        )
        for run in (ours.runs if ours is not None else ())
        for metric, measured in run.metrics.items()
    ]
    return there(
        Reconciled(
            date=found.date,
            status=found.status,
            complete=ours is None or ours.complete,
            problems=found.problems[:MOST_PROBLEMS],
            promises=tuple(promises),
        )
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
