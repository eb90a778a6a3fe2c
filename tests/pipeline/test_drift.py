"""Drift: the population stability index, reported and never scored."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from model_release.paths import ReleasePaths
from pipeline.data_quality.drift import SHIFTED, measure, psi
from pipeline.data_quality_v2 import check_data
from tests.pipeline.logs import DAY, END, Source

MIDDLE = END - 28 * DAY


def log(*, recent: tuple[float, ...], before: tuple[float, ...], rows: int = 600) -> pl.DataFrame:
    """Return a log whose quantities repeat ``recent`` in the last 28 days, and ``before`` in the eight weeks before."""
    sides = [(MIDDLE, 28 * DAY, recent), (MIDDLE - 56 * DAY, 56 * DAY, before)]
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "item_id": ["x"] * rows,
                    "timestamp": [start + number * (length / rows) for number in range(rows)],
                    "quantity": [float(values[number % len(values)]) for number in range(rows)],
                }
            )
            for start, length, values in sides
        ]
    )


def drift(rows: pl.DataFrame) -> dict[str, float]:
    """Measure up to END."""
    return {part.what: part.psi for part in measure(rows, until=END, recent_days=28, history_weeks=8)}


def test_the_index_by_hand() -> None:
    """Sum of (p - q) ln(p / q), half a row added to every bin."""
    p, q = [(30.5 / 101), (70.5 / 101)], [(50.5 / 101), (50.5 / 101)]
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert psi(np.array([30.0, 70.0]), np.array([50.0, 50.0])) == pytest.approx(expected)
    assert psi(np.array([7.0, 3.0]), np.array([7.0, 3.0])) == 0
    assert math.isfinite(psi(np.array([0.0, 10.0]), np.array([10.0, 0.0])))


def test_the_same_distribution_does_not_drift() -> None:
    """Whatever its shape, and however many rows are alike."""
    for values in ((1.0,), (1.0, 2.0, 3.0), tuple(float(number) for number in range(50))):
        assert drift(log(recent=values, before=values))["quantity"] < 0.01


def test_a_shift_is_seen_in_what_shifted_only() -> None:
    """Quantities twice as large; hours, weekdays and items stay."""
    found = drift(log(recent=(2.0, 4.0, 6.0, 8.0), before=(1.0, 2.0, 3.0, 4.0)))
    assert found["quantity"] > SHIFTED
    assert max(value for what, value in found.items() if what != "quantity") < 0.1


def test_new_items_and_other_hours_are_seen() -> None:
    """An item nobody took before is `other`; a shop that opens at night is another hour."""
    rows = log(recent=(1.0,), before=(1.0,))
    late = pl.col("timestamp") >= MIDDLE
    items = rows.with_columns(pl.when(late).then(pl.lit("new")).otherwise("item_id").alias("item_id"))
    assert drift(items)["items"] > SHIFTED
    night = rows.with_columns(
        pl.when(late).then(pl.col("timestamp").dt.truncate("1d")).otherwise("timestamp").alias("timestamp")
    )
    assert drift(night)["hour"] > SHIFTED
    assert drift(rows)["items"] < 0.01


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), None])
@pytest.mark.parametrize("share", [1, 3, 4])
def test_numbers_that_are_none_do_not_spoil_the_index(bad: float | None, share: int) -> None:
    """They are the ranges' to count; even if all are bad, the index is a number."""
    rows = log(recent=(1.0, 2.0, 3.0, 4.0), before=(1.0, 2.0, 3.0, 4.0))
    spoilt = pl.when(pl.int_range(pl.len()) % 4 < share).then(pl.lit(bad, pl.Float64)).otherwise("quantity")
    value = drift(rows.with_columns(spoilt.alias("quantity")))["quantity"]
    assert 0 <= value < 0.05
    recently = pl.when(pl.col("timestamp") >= MIDDLE).then(pl.lit(bad, pl.Float64)).otherwise("quantity")
    assert drift(rows.with_columns(recently.alias("quantity")))["quantity"] > SHIFTED


def test_too_few_rows_say_nothing() -> None:
    """199 on either side are too few; 200 are enough."""
    enough = log(recent=(1.0,), before=(1.0,), rows=200)
    assert drift(enough)
    assert drift(enough.filter(pl.col("timestamp") != enough["timestamp"].max())) == {}
    assert drift(enough.filter(pl.col("timestamp") != enough["timestamp"].min())) == {}


def test_rows_outside_of_both_parts_do_not_count() -> None:
    """Neither those after the end nor those before the history."""
    rows = log(recent=(1.0, 2.0), before=(1.0, 2.0))
    far = [rows.with_columns(pl.col("timestamp") + moved, quantity=pl.lit(99.0)) for moved in (84 * DAY, -84 * DAY)]
    assert drift(pl.concat([rows, *far])) == drift(rows)


def test_drift_is_listed_and_never_lowers_the_score(grocery: Source, paths: ReleasePaths) -> None:
    """Prices rose tenfold: odd, and still 100."""
    late = pl.col("when") >= END - 29 * DAY
    grocery.rows = grocery.rows.with_columns(pl.when(late).then(pl.col("paid") * 10).otherwise("paid").alias("paid"))
    table = check_data(grocery.config(), paths).tables["interactions"]
    assert table.score == 100
    assert {part.what: part.psi >= SHIFTED for part in table.drift}["price"]
    assert [said for said in table.anomalies if said.startswith("price shifted: PSI ")]
