"""Windows: what a run learns from ends where what it is judged on begins."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.errors import InvalidInputError
from pipeline.window import Window, parse_as_of, resolve_as_of

UTC = dt.UTC
SHANGHAI = ZoneInfo("Asia/Shanghai")
FIRST = dt.datetime(2025, 1, 1, 9, tzinfo=UTC)
LAST = dt.datetime(2025, 3, 20, 21, 30, tzinfo=UTC)


def resolved(as_of: dt.datetime | None = None, *, zone: dt.tzinfo = UTC, horizon_days: int = 7) -> Window:
    """Resolve with the usual log."""
    return resolve_as_of(as_of, first=FIRST, last=LAST, horizon_days=horizon_days, zone=zone)


def test_the_newest_window_begins_at_the_last_midnight_that_leaves_a_whole_horizon() -> None:
    """March 20, 21:30 minus seven days is March 13, 21:30; its midnight was before."""
    window = resolved()
    assert window.start == dt.datetime(2025, 3, 13, tzinfo=UTC)
    assert window.end == dt.datetime(2025, 3, 20, tzinfo=UTC)


def test_midnight_is_that_of_the_zone() -> None:
    """March 13, 21:30 UTC is March 14, 05:30 in Shanghai, whose midnight was March 13, 16:00 UTC."""
    window = resolved(zone=SHANGHAI)
    assert window.start == dt.datetime(2025, 3, 13, 16, tzinfo=UTC)
    assert window.start.tzinfo is UTC
    assert f"{window.as_of:%Y-%m-%d %H:%M}" == "2025-03-14 00:00"
    assert f"{window.local(window.end):%Y-%m-%d}" == "2025-03-21"
    assert f"{window.earlier(2).as_of:%Y-%m-%d %H:%M}" == "2025-02-28 00:00"


def test_a_window_is_days_of_24_hours_where_clocks_are_moved() -> None:
    """On March 30 2025 a day in Berlin has 23 hours: the window is as long as any other."""
    window = Window(dt.datetime(2025, 3, 28, tzinfo=ZoneInfo("Europe/Berlin")), 7)
    assert window.end - window.start == dt.timedelta(days=7)
    assert window.earlier(1).end == window.start


@given(st.integers(0, 300 * 86_400), st.integers(1, 14))
def test_the_newest_window_is_whole_and_the_next_one_would_not_be(seconds: int, horizon: int) -> None:
    """It ends at or before the last row, and less than a day before it."""
    end = dt.datetime(2025, 2, 1, tzinfo=UTC) + dt.timedelta(seconds=seconds)
    window = resolve_as_of(None, first=FIRST, last=end, horizon_days=horizon, zone=UTC)
    assert window.end <= end < window.end + dt.timedelta(days=1)


def test_a_cutoff_that_is_given_is_taken() -> None:
    """As it is, in whatever zone it was said; the days are named in that of the data."""
    given_one = dt.datetime(2025, 2, 10, 6, tzinfo=SHANGHAI)
    window = resolved(given_one, horizon_days=3)
    assert (window.start, window.end) == (given_one, given_one + dt.timedelta(days=3))
    assert (window.as_of.tzinfo, window.start.tzinfo) == (UTC, UTC)


@pytest.mark.parametrize(
    ("as_of", "words"),
    [
        (FIRST, ["2025-01-01", "nothing to train on"]),
        (FIRST - dt.timedelta(days=30), ["2024-12-02", "nothing to train on", "2025-01-01 09:00"]),
        (LAST + dt.timedelta(seconds=1), ["2025-03-20", "nothing to judge on", "21:30"]),
    ],
)
def test_a_cutoff_outside_of_the_log_is_refused(as_of: dt.datetime, words: list[str]) -> None:
    """The message names the cutoff and where the log begins or ends."""
    with pytest.raises(InvalidInputError) as caught:
        resolved(as_of)
    for word in words:
        assert word in str(caught.value)


def test_a_cutoff_may_be_the_last_row() -> None:
    """Then there is one row to judge on."""
    assert resolved(LAST).start == LAST
    assert resolved(FIRST + dt.timedelta(microseconds=1)).start > FIRST


def test_a_log_shorter_than_the_horizon_leaves_nothing_to_train_on() -> None:
    """Also without a cutoff."""
    with pytest.raises(InvalidInputError, match="nothing to train on"):
        resolved(horizon_days=80)


def test_earlier_windows_end_where_the_later_begin() -> None:
    """They are the same length, and none overlaps the test window."""
    window = resolved()
    assert window.earlier() == window.earlier(1)
    assert window.earlier(1).end == window.start
    assert window.earlier(3).end == window.earlier(2).start


def test_a_window_needs_a_zone() -> None:
    """A naive time would mean something else on every machine."""
    with pytest.raises(InvalidInputError, match="no time zone"):
        Window(dt.datetime(2025, 1, 1), 7)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-02-10", dt.datetime(2025, 2, 9, 16, tzinfo=UTC)),
        (" 2025-02-10T06:30 ", dt.datetime(2025, 2, 9, 22, 30, tzinfo=UTC)),
        ("2025-02-10T06:30+01:00", dt.datetime(2025, 2, 10, 5, 30, tzinfo=UTC)),
        ("2025-02-10T06:30Z", dt.datetime(2025, 2, 10, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_date_or_time_is_read_in_the_zone_of_the_log(text: str, expected: dt.datetime) -> None:
    """An offset of its own comes first."""
    assert parse_as_of(text, SHANGHAI) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01", "10.02.2025"])
def test_what_is_no_date_is_refused_by_name(text: str) -> None:
    """The message shows what would be one."""
    with pytest.raises(InvalidInputError, match="2017-12-25") as caught:
        parse_as_of(text, UTC)
    assert repr(text) in str(caught.value)
