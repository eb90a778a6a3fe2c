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
    offset = view.online.clock_offset_seconds
    here = view.now.timestamp() + (0.0 if isinstance(offset, Missing) else offset)
    for point in found.points:
        problem = _unusable(point, here, view.policy.maximum_age_seconds)
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


def _unusable(point: Point, here: float, limit: float) -> str | None:
    if not math.isfinite(point.value):
        return f"the value is {point.value:g}"
    age = here - point.at
    if not -CLOCK_SKEW_SECONDS <= age <= limit:
        return f"the sample is {age:.0f} seconds old, at most {limit:g} are allowed"
    return None
