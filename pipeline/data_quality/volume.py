"""Is there as much data as usual?  The last week against the same weekdays of the weeks before."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from statistics import median

import polars as pl

from pipeline.data_quality.report import BEST, Measurement

_MINIMUM_WEEKS = 4  # a median of fewer says little
_ODD_DAY_FACTOR = 4.0


@dataclass(frozen=True)
class Volume:
    """The measurement, and days that stick out."""

    measurement: Measurement
    odd_days: tuple[str, ...]


def measure(
    rows: pl.DataFrame, *, until: dt.datetime, history_weeks: int, factor: float, zone: dt.tzinfo = dt.UTC
) -> Volume:
    """Compare the seven days before ``until`` with the median week of the ``history_weeks`` before.

    Args:
        rows: interactions with a ``timestamp``.
        until: end of what may be seen, exclusive.
        history_weeks: how many weeks to compare with.
        factor: half of or twice as much as usual (2.0) still scores 100; beyond, the score falls in proportion.
        zone: in which days are named.

    Days are counted in steps of 24 hours back from ``until``.
    """
    day = ((pl.lit(until) - pl.col("timestamp")).dt.total_microseconds() - 1) // 86_400_000_000
    days = history_weeks * 7 + 7
    counts = dict(
        rows.lazy().select(day.alias("day")).filter(pl.col("day").is_between(0, days - 1)).group_by("day").len()
        .collect().iter_rows()
    )  # fmt: skip
    oldest = max(counts, default=-1)
    weeks = min(history_weeks, (oldest + 1) // 7 - 1)  # whole weeks of history that the log reaches back
    if weeks < _MINIMUM_WEEKS:
        detail = f"the log reaches back {max(weeks, 0)} whole weeks before the last one, {_MINIMUM_WEEKS} are needed"
        return Volume(Measurement(name="volume", kind="volume", score=None, detail=detail), ())
    usual = [median([counts.get(number + 7 * week, 0) for week in range(1, weeks + 1)]) for number in range(7)]
    seen, expected = sum(counts.get(number, 0) for number in range(7)), sum(usual)
    odd = tuple(
        f"{(until - dt.timedelta(days=number + 1)).astimezone(zone):%Y-%m-%d} has {counts.get(number, 0):,} rows, usual are "
        f"{usual[number]:,.0f}"
        for number in reversed(range(7))
        if _is_odd(counts.get(number, 0), usual[number])
    )
    measurement = Measurement(
        name="volume",
        kind="volume",
        score=_score(seen, expected, factor),
        bad=0,
        of=seen,
        detail=f"{seen:,} rows in the last 7 days, usual are {expected:,.0f} (median of {weeks} weeks)",
    )
    return Volume(measurement, odd)


def _score(seen: int, expected: float, factor: float) -> float:
    if expected <= 0:
        return BEST if seen == 0 else 0.0
    ratio = seen / expected
    return BEST * min(1.0, ratio * factor, factor / ratio if ratio else 0.0)


def _is_odd(seen: int, usual: float) -> bool:
    return seen * _ODD_DAY_FACTOR < usual or seen > max(usual, 1.0) * _ODD_DAY_FACTOR
