"""What query and sample_ratio share: numbers of now that are really numbers, and of now."""

from __future__ import annotations

import math

from model_release.checks.freshness import CLOCK_SKEW_SECONDS
from model_release.checks.trials import TrialView
from model_release.evidence import Missing, NumberQuery, Point


def answered(view: TrialView, query: NumberQuery) -> tuple[Point, ...] | Missing:
    """Return the series of the answer to a query, all of them finite and fresh; Missing: there is none such."""
    found = view.online.numbers.get(query, Missing(f"Prometheus was not asked for {query.query}"))
    if isinstance(found, Missing):
        return found
    if not found.points:
        return Missing(f"no series of {query.query}")
    for point in found.points:
        problem = f"the value is {point.value:g}" if not math.isfinite(point.value) else _untimely(view, point)
        if problem is not None:
            return Missing(f"{query.query}: {problem}")
    return found.points


def single(view: TrialView, query: NumberQuery) -> float | Missing:
    """Return the one number of the answer to a query; Missing: it is not one."""
    points = answered(view, query)
    if isinstance(points, Missing):
        return points
    if len(points) != 1:
        return Missing(f"{len(points)} series of {query.query}, but one number was asked for")
    return points[0].value


def is_of_nothing(view: TrialView, query: NumberQuery) -> bool:
    """Return whether the answer is one fresh NaN: what Prometheus makes of nothing divided by nothing."""
    found = view.online.numbers.get(query)
    if found is None or isinstance(found, Missing) or len(found.points) != 1:
        return False
    return math.isnan(found.points[0].value) and _untimely(view, found.points[0]) is None


def _untimely(view: TrialView, point: Point) -> str | None:
    offset = view.online.clock_offset_seconds
    here = view.now.timestamp() + (0.0 if isinstance(offset, Missing) else offset)
    age, limit = here - point.at, view.policy.maximum_age_seconds
    if not -CLOCK_SKEW_SECONDS <= age <= limit:
        return f"the sample is {age:.0f} seconds old, at most {limit:g} are allowed"
    return None
