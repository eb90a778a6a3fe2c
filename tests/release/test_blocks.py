"""Blocks that never move, and counters of processes that restart, appear and go."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.blocks import Life, Series, bounds, increments, lacking, lives, segments, unusable, vanished
from model_release.evidence import Floats

NAN = math.nan
STEPS = st.floats(1.0, 600.0)


@given(st.floats(0, 2e9), STEPS, st.floats(0, 1e6), st.floats(0, 1e6))
def test_bounds_never_move(started: float, step: float, first: float, later: float) -> None:
    """What is a bound now stays one: later looks only add bounds at the end."""
    before, after = bounds(started, started + first, step), bounds(started, started + first + later, step)
    assert len(after) >= len(before)
    assert np.array_equal(after[: len(before)], before)


@given(STEPS, st.floats(0, 1e6))
def test_blocks_are_complete_and_begin_with_the_trial(step: float, length: float) -> None:
    found = bounds(1e9, 1e9 + length, step)
    if length < step * 0.999:
        assert not len(found)
        return
    if length > step * 1.001:
        assert found[0] == 1e9
        assert found[-1] <= 1e9 + length
        assert (np.diff(found) > 0.0).all()
        assert 1e9 + length - found[-1] < 2.001 * (found[-1] - found[-2])


def test_a_day_has_about_a_thousand_blocks_that_widen() -> None:
    widths = np.diff(bounds(0.0, 86400.0, 5.0))
    assert len(widths) == 975
    assert widths[:240].tolist() == [5.0] * 240
    assert widths[240:360].tolist() == [10.0] * 120
    assert [segment.step for segment in segments(0.0, 86400.0, 5.0)] == [
        5.0,
        10.0,
        20.0,
        40.0,
        80.0,
        160.0,
        320.0,
        640.0,
    ]


def one(values: list[float], instance: str = "a", **labels: str) -> Series:
    return Series({"job": "api", "instance": instance, **labels}, np.array(values))


def counted(*series: Series) -> list[float]:
    return list(map(float, increments(series, lives(series), len(series[0].values) - 1)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 7, 7, 12], [2, 0, 5]),
        ([5, 7, 3, 4], [2, 3, 1]),  # restarted: 3 since then
        ([5, 7, 0, 0], [2, 0, 0]),
        ([5, NAN, NAN, 9], [0, 0, 4]),  # a gap keeps the last value
        ([5, NAN, 2, 2], [0, 2, 0]),
        ([NAN, 4, 6, 6], [0, 2, 0]),  # a new process: what was before is not counted
        ([NAN, NAN, NAN, NAN], [0, 0, 0]),
        ([5, 7, NAN, NAN], [2, 0, 0]),
    ],
)
def test_what_a_counter_counted(values: list[float], expected: list[float]) -> None:
    assert counted(one(values)) == expected


def test_a_new_series_of_a_known_process_counted_from_0() -> None:
    assert counted(one([1, 1, 1, 1]), one([NAN, NAN, 3, 4], status="503")) == [0, 3, 1]


def test_a_new_series_of_a_new_process_does_not() -> None:
    assert counted(one([NAN, 50, 51, 51]), one([NAN, 3, 3, 4], status="503")) == [0, 1, 1]


def test_a_restart_is_one_of_all_series_of_the_process() -> None:
    """A counter that is larger after the restart than before began at 0 too."""
    assert counted(one([100, 110, 4, 5]), one([2, 2, 3, 3], status="503")) == [10, 4 + 3, 1]
    assert counted(one([2, 2, 3, 3], status="503"), one([100, 110, 4, 5])) == [10, 4 + 3, 1]
    assert counted(one([100, 110, 4, 5]), one([2, 2, 3, 3], "b")) == [10, 4 + 1, 1]


def test_a_series_that_comes_back_after_a_restart_began_at_0() -> None:
    assert counted(one([100, 110, 4, 5, 6]), one([2, 2, NAN, NAN, 7], status="503")) == [10, 4, 1, 1 + 7]


@given(st.lists(st.one_of(st.just(NAN), st.integers(0, 50).map(float)), min_size=2, max_size=12))
def test_nothing_is_counted_backward(values: list[float]) -> None:
    assert min(counted(one(values))) >= 0.0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_a_restart_and_gaps_lose_nothing_that_was_sampled_after_them(steps: list[int], gaps: list[int]) -> None:
    """Without restarts the sum is the last value minus the first, wherever there are gaps."""
    values: Floats = np.concatenate([[3.0], 3.0 + np.cumsum(np.array(steps, dtype=np.float64))])
    total = values[-1] - values[0]
    for gap in gaps:
        if 0 < gap < len(values) - 1:
            values[gap] = NAN
    assert sum(counted(one(values.tolist()))) == total


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0, math.inf], "infinite"),
        ([0, -1], "negative"),
        ([0, 2.0**53 + 2], "beyond 2^53"),
        ([NAN, NAN], "no sample that is a number"),
    ],
)
def test_what_is_no_count(values: list[float], reason: str) -> None:
    assert reason in str(unusable([one([1, 2]), one(values)]))
    assert unusable([one([1, 2]), one([NAN, 2])]) is None


def test_a_series_that_ends_has_vanished_unless_its_process_was_restarted_or_is_gone() -> None:
    gone = one([1, 2, NAN], status="503")
    assert vanished([gone], [("api", "a")], lives([one([5, 6, 7]), gone]))
    assert not vanished([gone], [("api", "a")], lives([one([5, 6, 2]), gone]))
    assert not vanished([gone], [("api", "b")], lives([one([5, 6, 7]), gone]))
    assert vanished([one([1, NAN, NAN])], [("api", "a")], lives([one([5, 2, 3]), one([1, 2, NAN])])) == []
    assert lacking([gone, one([1, 2, 3], "b")], [("api", "a"), ("api", "b")]) == [("api", "a")]


def test_the_life_of_a_process() -> None:
    found = lives([one([NAN, 1, 2]), one([NAN, NAN, 2], status="503"), one([NAN, NAN, NAN], "b")])
    assert list(found) == [("api", "a")]
    assert isinstance(found["api", "a"], Life)
    assert found["api", "a"].first == 1
    assert not found["api", "a"].restarts.any()
