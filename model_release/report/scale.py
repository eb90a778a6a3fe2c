"""Where a result lies against its limit, in units that make every result comparable: better always to the right.

Results about the current run are in units of their margin, results about a fixed limit in shares of it.
"""

from __future__ import annotations

import math

from model_release.report.figures import is_difference
from model_release.verdict import CheckResult


def place(result: CheckResult) -> tuple[float, float | None, float | None] | None:
    """Return value and ends of the interval in units of the limit, from the limit on, better to the right.

    None: there is no number to draw, or no scale to draw it on.
    """
    step = scale(result)
    if result.value is None or result.limit is None or step is None:
        return None
    limit = result.limit

    def placed(number: float | None) -> float | None:
        return None if number is None or not math.isfinite(number) else (number - limit) / step

    value = placed(result.value)
    low, high = (None, None) if result.interval is None else map(placed, result.interval)
    if value is None:
        return None
    return (value, low, high) if step > 0.0 else (value, high, low)


def scale(result: CheckResult) -> float | None:
    """Return what one step to the right is: the limit's size, or the value's where the limit is 0; negative if less is better."""
    if result.value is None or result.limit is None or result.direction is None:
        return None
    size = abs(result.limit) or abs(result.value) or 1.0
    if not math.isfinite(size):
        return None
    return size if result.direction == "at_least" else -size


def equal(result: CheckResult) -> float | None:
    """Return where no difference lies; None: nowhere, or where the limit is."""
    step = scale(result)
    if not is_difference(result) or step is None or not result.limit:
        return None
    return -result.limit / step
