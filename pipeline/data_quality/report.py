"""What the data-quality stage says: per table a score, what it was computed from, and what looked odd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from model_release.artifact import Frozen

BEST = 100.0
Score = Annotated[float, Field(ge=0.0, le=BEST)]


class Measurement(Frozen):
    """One thing that was measured.

    Attributes:
        name: what, for example ``nulls: user_id``.
        kind: which group of checks it belongs to.
        score: 0 to 100; None if it could not be measured, or is reported only.
        bad: values or rows that are wrong.
        of: values or rows that were looked at.
        detail: what a person wants to know.
    """

    name: str
    kind: Literal["schema", "nulls", "ranges", "duplicates", "references", "future", "volume", "rows"]
    score: Score | None
    bad: int = 0
    of: int = 0
    detail: str = ""


class Drift(Frozen):
    """How much a distribution moved: the population stability index; from 0.25 on it is listed as an anomaly."""

    what: str
    psi: Annotated[float, Field(ge=0.0)]


class TableQuality(Frozen):
    """Everything about one table.

    Attributes:
        rows: rows that were looked at.
        score: that of its worst measurement; 0 for an empty table.
        schema_violations: columns that are missing, and values that are missing or of another type.
        age_seconds: age of the newest row; None for a table without times, or without rows.
        measurements: what the score is made of.
        anomalies: what looked odd, in words; reported, never scored.
        drift: reported, never scored.
    """

    rows: int
    score: Score
    schema_violations: int
    age_seconds: float | None
    measurements: tuple[Measurement, ...]
    anomalies: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()

    @property
    def worst(self) -> Measurement | None:
        """The measurement that made the score, the first of equals; None if nothing was scored."""
        scored = [measured for measured in self.measurements if measured.score is not None]
        return min(scored, key=lambda measured: measured.score or 0.0, default=None)


class QualityReport(Frozen):
    """``data_quality_report.json``; its keys are explained in docs/reference/data-quality.md."""

    schema_version: Literal[1] = 1
    source: str
    measured_at: AwareDatetime
    now: AwareDatetime
    visible_until: AwareDatetime
    tables: Mapping[str, TableQuality]

    @property
    def scores(self) -> dict[str, float]:
        """Score by table."""
        return {name: table.score for name, table in self.tables.items()}


def share_score(bad: int, of: int) -> float:
    """Return the share of what is good, as a score; of nothing at all, nothing is good."""
    if of <= 0:
        return 0.0
    score = BEST * (1.0 - bad / of)
    # One bad row in a million must not be rounded to none.
    return score if bad == 0 else min(score, math.nextafter(BEST, 0.0))


def table_quality(
    rows: int,
    measurements: tuple[Measurement, ...],
    *,
    age_seconds: float | None = None,
    anomalies: tuple[str, ...] = (),
    drift: tuple[Drift, ...] = (),
) -> TableQuality:
    """Put the measurements of a table together: its score is that of the worst."""
    scores = [measured.score for measured in measurements if measured.score is not None]
    violations = sum(measured.bad for measured in measurements if measured.kind in {"schema", "nulls"})
    return TableQuality(
        rows=rows,
        score=min(scores) if rows and scores else 0.0,
        schema_violations=violations,
        age_seconds=age_seconds,
        measurements=measurements,
        anomalies=anomalies,
        drift=drift,
    )
