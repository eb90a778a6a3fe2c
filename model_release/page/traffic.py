"""Requests, their latency and what went wrong with them over the last hour: which questions, and the answers as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping

from model_release.artifact import Frozen
from model_release.blocks import Segment
from model_release.evidence import History, RangeQuery

WINDOW_SECONDS, STEP_SECONDS = 3600.0, 30.0
_ANSWERED = "sum(rate(recommendation_answers_total[1m]))"
# Each gives one series without labels, and no sample where nothing can be said: a share of no answers is none.
QUESTIONS: Mapping[str, RangeQuery] = {
    "per_second": RangeQuery("sum(rate(recommendation_requests_total[1m]))"),
    "p95_seconds": RangeQuery(
        "histogram_quantile(0.95, sum by (le) (rate(recommendation_latency_seconds_bucket[1m]))) >= 0"
    ),
    "degraded": RangeQuery(f"sum(rate(recommendation_degraded_total[1m])) / ({_ANSWERED} > 0)"),
}


class Line(Frozen):
    """Values ``step`` seconds apart from Unix time ``start`` on; None where there is none."""

    start: float
    step: float
    values: tuple[float | None, ...]
    last: float | None


class Traffic(Frozen):
    """One line for each of ``QUESTIONS``."""

    lines: Mapping[str, Line]


def window(at: float) -> Segment:
    """Return the times to ask about: the last hour before Unix time ``at``, on whole steps, so that lines do not shiver."""
    end = math.floor(at / STEP_SECONDS) * STEP_SECONDS
    return Segment(end - WINDOW_SECONDS, end, STEP_SECONDS)


def line(history: History, segment: Segment) -> Line:
    """Return the only series of an answer as a line; without a series, a line without values."""
    bounds = len(segment.bounds)
    values: list[float | None] = [None] * bounds
    if history.series:
        values = [float(value) if math.isfinite(value) else None for value in history.series[0].values]
    return Line(start=segment.start, step=segment.step, values=tuple(values), last=values[-1])
