"""Times in every way people write them become times in UTC; what is none becomes null."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from pipeline.timestamps import TIMESTAMP, utc

MOMENT = dt.datetime(2025, 1, 1, 0, 0, 7, tzinfo=dt.UTC)
SECONDS = int(MOMENT.timestamp())
SHANGHAI = "Asia/Shanghai"


def read(values: list[Any], kind: Any = None, zone: str = "UTC") -> list[dt.datetime | None]:
    """Read a column of ``values``; check that its type is the one that is promised."""
    frame = pl.DataFrame({"when": pl.Series(values, dtype=kind)})
    column = frame.select(utc(frame.schema, "when", zone))["when"]
    assert column.dtype == TIMESTAMP
    return column.to_list()


@pytest.mark.parametrize("kind", [pl.Int32, pl.UInt32, pl.Int64, pl.UInt64, pl.Float64, pl.String])
def test_seconds_since_1970_are_read_from_any_number(kind: Any) -> None:
    """Also from 32 bits, which hold the seconds but not their microseconds, and beside a null."""
    values = [str(SECONDS) if kind == pl.String else SECONDS, None]
    assert read(values, kind) == [MOMENT, None]


@pytest.mark.parametrize("factor", [1_000, 1_000_000])
@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_milliseconds_and_microseconds_are_told_by_their_size(factor: int, kind: Any) -> None:
    """In numbers and in text; the zone of the log does not move them."""
    value = SECONDS * factor
    assert read([str(value) if kind == pl.String else value], kind, SHANGHAI) == [MOMENT]


def test_numbers_with_a_fraction_are_read() -> None:
    """As pandas writes whole numbers beside nulls, and as clocks give them; NaN and infinity are no time."""
    later = MOMENT + dt.timedelta(milliseconds=500)
    assert read([f"{SECONDS}.0", f"{SECONDS}.5"]) == [MOMENT, later]
    assert read([float(SECONDS), SECONDS + 0.5, float("nan"), float("inf")]) == [MOMENT, later, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-01T00:00:07Z",
        "2025-01-01T08:00:07+08:00",
        "2025-01-01T08:00:07+0800",
        "2025-01-01 08:00:07+08:00",
        "2024-12-31T19:00:07.000-05:00",
        "  2025-01-01T08:00:07+08:00 ",
    ],
)
def test_an_offset_is_obeyed_whatever_the_zone(text: str) -> None:
    """ISO 8601, with T or a space."""
    assert read([text], zone="America/New_York") == [MOMENT]


@pytest.mark.parametrize("text", ["2025-01-01T08:00+08:00", "2025-01-01 08:00+08:00", "2025-01-01T00:00Z"])
def test_an_offset_is_obeyed_without_seconds_too(text: str) -> None:
    """ISO 8601 leaves them out."""
    assert read([text], zone="America/New_York") == [MOMENT - dt.timedelta(seconds=7)]


@pytest.mark.parametrize(
    "text",
    ["2025-01-01 08:00:07", "2025-01-01T08:00:07", "2025-01-01T08:00:07.000000", "2025/01/01 08:00:07"],
)
def test_a_time_without_a_zone_is_meant_in_that_of_the_log(text: str) -> None:
    """Eight in Shanghai is midnight in UTC; in UTC it is eight."""
    assert read([text], zone=SHANGHAI) == [MOMENT]
    assert read([text], zone="UTC") == [MOMENT + dt.timedelta(hours=8)]


@pytest.mark.parametrize("text", ["2025-01-01 08:00", "2025-01-01T08:00", "2025/1/1 8:00"])
def test_seconds_may_be_left_out(text: str) -> None:
    """As spreadsheets write times."""
    assert read([text], zone=SHANGHAI) == [MOMENT - dt.timedelta(seconds=7)]


@pytest.mark.parametrize("text", ["2025-01-01", "2025/01/01", "20250101", "2025-1-1"])
def test_a_date_is_its_midnight_in_the_zone_of_the_log(text: str) -> None:
    """In text and as a date."""
    midnight = dt.datetime(2024, 12, 31, 16, tzinfo=dt.UTC)
    assert read([text], zone=SHANGHAI) == [midnight]
    assert read([dt.date(2025, 1, 1)], zone=SHANGHAI) == [midnight]


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_times_of_a_database_are_read(unit: Any) -> None:
    """Naive ones in the zone of the log, others in their own."""
    naive = [MOMENT.replace(tzinfo=None) + dt.timedelta(hours=8)]
    assert read(naive, pl.Datetime(unit), SHANGHAI) == [MOMENT]
    assert read([MOMENT], pl.Datetime(unit, "America/New_York"), SHANGHAI) == [MOMENT]


def test_hours_that_do_not_exist_are_null_and_those_that_come_twice_are_the_earlier() -> None:
    """New York, March 9, 2:30 was skipped; November 2, 1:30 was at 5:30 and at 6:30 UTC."""
    skipped, twice = read(["2025-03-09 02:30:00", "2025-11-02 01:30:00"], zone="America/New_York")
    assert skipped is None
    assert twice == dt.datetime(2025, 11, 2, 5, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "text", ["", "  ", "yesterday", "2025-13-01", "2025-02-30", "12345", "1e9", "08:00", "-", "1.5"]
)
def test_what_is_no_time_is_null(text: str) -> None:
    """And it does not disturb its neighbours."""
    assert read([text, "2025-01-01T00:00:07Z"]) == [None, MOMENT]


def test_several_ways_may_stand_in_one_column() -> None:
    """Each value is read on its own."""
    values = ["2025-01-01T00:00:07Z", "2025-01-01 08:00:07", str(SECONDS), "never", None]
    assert read(values, zone=SHANGHAI) == [MOMENT, MOMENT, MOMENT, None, None]


def test_another_type_is_unreadable() -> None:
    """A column of booleans says no time."""
    assert read([True, False]) == [None, None]
