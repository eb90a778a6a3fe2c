"""As much data as usual: the last week against the median of the same weekdays before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

from pipeline.data_quality.volume import Volume, measure
from tests.pipeline.logs import DAY, END


def log(count: Callable[[int], int], *, days: int = 70) -> pl.DataFrame:
    """Return a log with ``count(n)`` rows on the n-th day before END; 0 is the last."""
    times = [END - (number + 1) * DAY + dt.timedelta(hours=9) for number in range(days) for _ in range(count(number))]
    return pl.DataFrame({"timestamp": times}, schema={"timestamp": pl.Datetime("us", "UTC")})


def volume(rows: pl.DataFrame, *, weeks: int = 8, factor: float = 2.0) -> Volume:
    """Measure up to END."""
    return measure(rows, until=END, history_weeks=weeks, factor=factor)


def test_as_much_as_usual_scores_100() -> None:
    """Weekends may be stronger: weekdays are compared with weekdays."""
    found = volume(log(lambda day: 50 if day % 7 < 2 else 10))
    assert found.measurement.score == 100
    assert found.measurement.of == 150
    assert "median of 8 weeks" in found.measurement.detail
    assert found.odd_days == ()


@pytest.mark.parametrize(
    ("today", "expected"),
    [(0, 0.0), (1, 10.0), (5, 50.0), (9, 90.0), (10, 100.0), (20, 100.0), (40, 100.0), (80, 50.0), (400, 10.0)],
)
def test_beyond_the_factor_the_score_falls_in_proportion(today: int, expected: float) -> None:
    """Usual are 20; half and twice still score 100."""
    found = volume(log(lambda day: today if day < 7 else 20))
    assert found.measurement.score == pytest.approx(expected)


def test_the_factor_is_configured() -> None:
    """With 1 every deviation costs."""
    rows = log(lambda day: 15 if day < 7 else 20)
    assert volume(rows, factor=1.0).measurement.score == pytest.approx(75)
    assert volume(rows, factor=1.5).measurement.score == 100


def test_one_strange_week_does_not_move_the_median() -> None:
    """Neither ten times as much nor a week without data."""
    found = volume(log(lambda day: {3: 200, 5: 0}.get(day // 7, 20)))
    assert found.measurement.score == 100


def test_days_that_stick_out_are_named() -> None:
    """A lost day and a flood; the score of the week may still be good."""
    found = volume(log(lambda day: {2: 0, 5: 100}.get(day, 20)))
    assert found.measurement.score == 100
    lost, flood = END - 3 * DAY, END - 6 * DAY
    assert found.odd_days == (
        f"{flood:%Y-%m-%d} has 100 rows, usual are 20",
        f"{lost:%Y-%m-%d} has 0 rows, usual are 20",
    )


@pytest.mark.parametrize(("days", "weeks"), [(0, 0), (6, 0), (7, 0), (14, 1), (34, 3)])
def test_a_log_too_short_for_a_median_is_not_scored(days: int, weeks: int) -> None:
    """Four whole weeks before the last one are needed; the message counts."""
    found = volume(log(lambda _: 20, days=days))
    assert found.measurement.score is None
    assert f"{weeks} whole weeks" in found.measurement.detail
    assert volume(log(lambda _: 20, days=35)).measurement.score == 100


def test_only_the_configured_weeks_count() -> None:
    """Older ones had ten times as much."""
    rows = log(lambda day: 200 if day >= 35 else 20, days=120)
    assert volume(rows, weeks=4).measurement.score == 100
    assert "median of 4 weeks" in volume(rows, weeks=4).measurement.detail


def test_a_day_ends_where_the_next_begins() -> None:
    """A row at the end is not seen; one at the beginning of the last day is."""
    rows = pl.concat([log(lambda day: 20 if day >= 7 else 0), log(lambda _: 0)])
    edges = pl.DataFrame(
        {"timestamp": [END, END, END - 7 * DAY, END - dt.timedelta(microseconds=1)]}, schema=rows.schema
    )
    assert volume(pl.concat([rows, edges])).measurement.of == 2
