"""Differences between ranked lists, against the definitions and published figures; and the count of distinct items."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.ranking import SKETCH_BITS, DistinctCount, head_count, overlap, rank_biased_overlap

LISTS = st.lists(st.sampled_from([f"i{number}" for number in range(30)]), max_size=25, unique=True)
PERSISTENCES = st.floats(0.05, 0.98)


def by_definition(one: list[str], other: list[str], p: float) -> float:
    """Sum (1-p) p^(d-1) A_d over 4,000 depths; past the end of a list its agreement so far goes on."""
    short, long = sorted((one, other), key=len)
    s, last = len(short), len(long)
    if s == 0:
        return 0.0
    at_s = len(set(short) & set(long[:s])) / s
    total = agreement = 0.0
    for depth in range(1, 4001):
        if depth <= last:
            found = len(set(short[:depth]) & set(long[:depth]))
            agreement = (found + at_s * max(0, depth - s)) / depth
        total += (1 - p) * p ** (depth - 1) * agreement
    return total


@given(one=LISTS, other=LISTS, p=PERSISTENCES)
def test_rank_biased_overlap_is_the_sum_that_defines_it(one: list[str], other: list[str], p: float) -> None:
    """The closed form is the infinite sum with agreement extrapolated past the ends."""
    if one or other:
        assert rank_biased_overlap(one, other, p) == pytest.approx(by_definition(one, other, p), abs=1e-9)


@given(one=LISTS, other=LISTS, p=PERSISTENCES)
def test_both_measures_are_symmetric_and_between_0_and_1(one: list[str], other: list[str], p: float) -> None:
    """It does not matter which list is which; equal lists have 1, lists without a common item 0."""
    if not (one or other):
        return
    for measure in (overlap, lambda a, b: rank_biased_overlap(a, b, p)):
        value = measure(one, other)
        assert 0.0 <= value <= 1.0
        assert measure(other, one) == pytest.approx(value)
        assert (value == 0.0) == (not set(one) & set(other))
    for alone in (one, other):
        if alone:
            assert overlap(alone, alone) == 1.0
            assert rank_biased_overlap(alone, alone, p) == pytest.approx(1.0)


@pytest.mark.parametrize(("p", "depth"), [(0.9, 10), (0.98, 50)])
def test_the_first_ranks_have_the_published_weight(p: float, depth: int) -> None:
    """Webber et al. 2010, equation 21: 86 % for the first 10 ranks at p = 0.9, "the same" for the first 50 at p = 0.98.

    The weight of the first ranks is what two lists score that share just these.
    """
    head = [f"both-{number}" for number in range(depth)]
    tails = [[f"{name}-{number}" for number in range(3000)] for name in "ab"]
    value = rank_biased_overlap(head + tails[0], head + tails[1], p)
    closed = 1 - p ** (depth - 1) + (1 - p) / p * depth * (-math.log(1 - p) - sum(p**i / i for i in range(1, depth)))
    assert value == pytest.approx(closed, abs=1e-9)
    assert value == pytest.approx(0.86, abs=0.01)


def test_the_published_example_lists() -> None:
    """Webber et al. 2010, table I: agreement 0, 0, .667, .500, .400, .333, .286 at depths 1 to 7."""
    agreements = (0, 0, 2 / 3, 2 / 4, 2 / 5, 2 / 6, 2 / 7)
    p = 0.9
    expected = sum((1 - p) * p**rank * agreement for rank, agreement in enumerate(agreements)) + agreements[-1] * p**7
    assert rank_biased_overlap("abcdefg", "zcavwxy", p) == pytest.approx(expected)
    assert [round(overlap("abcdefg"[:d], "zcavwxy"[:d]), 3) for d in range(1, 8)] == [
        0,
        0,
        0.667,
        0.5,
        0.4,
        0.333,
        0.286,
    ]


def test_a_prefix_agrees_in_full_as_far_as_one_can_see() -> None:
    """RBO_ext extrapolates the agreement of the shorter list; overlap does not, the longer list has items more."""
    assert rank_biased_overlap("abcde", "abcdefg") == pytest.approx(1.0)
    assert overlap("abcde", "abcdefg") == pytest.approx(5 / 7)


def test_an_order_that_differs_at_the_top_costs_more() -> None:
    """Overlap does not see the order, rank-biased overlap does."""
    items = [f"i{number}" for number in range(10)]
    top, bottom = [items[1], items[0], *items[2:]], [*items[:8], items[9], items[8]]
    assert overlap(items, top) == overlap(items, bottom) == 1.0
    assert rank_biased_overlap(items, top) < rank_biased_overlap(items, bottom) < 1.0


@given(one=st.lists(st.sampled_from("abcd"), max_size=12), other=st.lists(st.sampled_from("abcd"), max_size=12))
def test_repeated_items_count_once(one: list[str], other: list[str]) -> None:
    """A list of a careless model has no more agreement than the sets of its first ranks."""
    if one or other:
        assert rank_biased_overlap(one, other) == pytest.approx(by_definition(one, other, 0.9), abs=1e-9)
        assert 0.0 <= overlap(one, other) <= 1.0


def test_nothing_to_compare_is_an_error_and_one_empty_list_is_no_agreement() -> None:
    """No evidence is not a pass."""
    for measure in (overlap, rank_biased_overlap):
        with pytest.raises(ValueError, match="both lists are empty"):
            measure([], [])
        assert measure(["a"], []) == measure([], ["a"]) == 0.0
    for p in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            rank_biased_overlap(["a"], ["a"], p)


@given(items=LISTS, head=st.sets(st.sampled_from([f"i{number}" for number in range(30)])))
def test_items_of_the_head_are_counted(items: list[str], head: set[str]) -> None:
    assert head_count(items, frozenset(head)) == len([item for item in items if item in head])


@pytest.mark.parametrize("count", [0, 1, 10, 1_000, 50_000, 400_000])
def test_distinct_items_are_estimated_within_the_stated_error(count: int) -> None:
    """Five standard errors, with ids that differ in a digit only; naming an item again changes nothing."""
    sketch = DistinctCount()
    sketch.add(f"item-{number}" for number in range(count))
    before = sketch.estimate()
    sketch.add(f"item-{number}" for number in range(0, count, 7))
    assert sketch.estimate() == before
    load = count / SKETCH_BITS
    error = math.sqrt(SKETCH_BITS * (math.exp(load) - load - 1))
    assert before == pytest.approx(count, abs=max(0.01, 5 * error))


@given(parts=st.lists(st.lists(st.text(max_size=5), max_size=20), max_size=5))
def test_merged_sketches_are_the_sketch_of_everything(parts: list[list[str]]) -> None:
    """Whatever the split over processes, and however often a part is merged in."""
    sketches = [DistinctCount() for _ in parts]
    for sketch, items in zip(sketches, parts, strict=True):
        sketch.add(items)
    everything = DistinctCount()
    everything.add(item for items in parts for item in items)
    sent = [DistinctCount.load(json.loads(json.dumps(sketch.dump()))) for sketch in sketches]
    assert DistinctCount.merge([*sent, *sketches]).dump() == everything.dump()
    assert everything.estimate() == pytest.approx(len({item for items in parts for item in items}), abs=1.5)


def test_a_full_sketch_says_its_most() -> None:
    """Saturation is a large number, never an error or infinity."""
    assert DistinctCount(b"\xff" * (SKETCH_BITS // 8)).estimate() == pytest.approx(SKETCH_BITS * math.log(SKETCH_BITS))


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", "eJwDAAAAAAE=", DistinctCount().dump()[:-8]])
def test_what_is_no_sketch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sketch"):
        DistinctCount.load(text)


def test_a_sketch_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not 3"):
        DistinctCount(b"abc")
