"""Which answers no order of events explains."""

from __future__ import annotations

import pytest

from benchmarks.changes import Change, Seen, stale

# b from 10 to 11, a from 20 to 21; before that, a
CHANGES = [Change(10.0, 11.0, "b", 200), Change(20.0, 21.0, "a", 200)]
# b was asked for and the answer never came; then c
BROKEN = [Change(10.0, 11.0, "b", None), Change(20.0, 21.0, "c", 200)]


@pytest.mark.parametrize(
    ("sent", "finished", "run_id"),
    [
        (1.0, 2.0, "a"),
        (9.0, 10.5, "b"),  # under way when the reload began
        (10.2, 10.4, "a"),  # the reload is not true yet
        (10.9, 12.0, "a"),  # sent before the 200
        (11.1, 12.0, "b"),
        (19.0, 20.5, "a"),
        (21.1, 22.0, "a"),
    ],
)
def test_an_answer_of_either_run_is_fine_while_a_reload_is_under_way(sent: float, finished: float, run_id: str) -> None:
    assert stale(CHANGES, [Seen(sent, finished, run_id)], first="a") == []


@pytest.mark.parametrize(
    ("sent", "finished", "run_id"),
    [
        (1.0, 2.0, "b"),  # nobody has asked for it
        (11.1, 12.0, "a"),  # sent after the 200
        (11.1, 19.9, "a"),  # and ended before the next reload began
        (21.1, 22.0, "b"),
        (21.1, 22.0, None),
    ],
)
def test_an_answer_that_the_200_contradicts_is_stale(sent: float, finished: float, run_id: str | None) -> None:
    answer = Seen(sent, finished, run_id)
    assert stale(CHANGES, [answer], first="a") == [answer]


@pytest.mark.parametrize(("sent", "run_id", "count"), [(12.0, "a", 0), (12.0, "b", 0), (12.0, "c", 1), (22.0, "b", 1)])
def test_after_a_reload_that_broke_off_both_are_possible_until_the_next_200(
    sent: float, run_id: str, count: int
) -> None:
    assert len(stale(BROKEN, [Seen(sent, sent + 0.1, run_id)], first="a")) == count
