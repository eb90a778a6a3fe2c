"""The check ``ratio``."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_release.blocks import Floats, Series
from model_release.checks import ratio
from model_release.checks.trials import TrialView
from model_release.evidence import ARMS, Arm, History, Missing, RangeQuery, Scrape
from model_release.policy import RatioPolicy
from model_release.report import wanted
from model_release.verdict import CheckResult, Verdict
from tests.online_evidence import REPLICAS, STARTED, of_ratio, online_policy, series, view, with_series

WIDTH = 60
BAD = {arm: RangeQuery(f'bad_total{{variant="{arm}"}}') for arm in ARMS}
ALL = {arm: RangeQuery(f'answers_total{{variant="{arm}"}}') for arm in ARMS}


def judged(found: TrialView) -> CheckResult:
    rule = found.policy.checks[0]
    assert isinstance(rule, RatioPolicy)
    (result,) = ratio.check(rule, found)
    return result


def drawn(candidate: float, current: float, *, width: int = WIDTH, **changes: Any) -> TrialView:
    """Return a trial with such shares of bad answers, 13 and 113 answers per block and replica."""
    rng = np.random.default_rng(7)
    return of_ratio(
        online_policy("ratio", **changes),
        {
            "candidate": rng.binomial(13, candidate, width).astype(np.float64),
            "current": rng.binomial(113, current, width).astype(np.float64),
        },
        {"candidate": np.full(width, 13.0), "current": np.full(width, 113.0)},
    )


@pytest.mark.parametrize(
    ("candidate", "current", "verdict"),
    [
        (0.01, 0.01, Verdict.PASS),
        (0.0, 0.05, Verdict.PASS),
        (0.1, 0.01, Verdict.FAIL),
        (0.03, 0.01, Verdict.INCONCLUSIVE),
    ],
)
def test_the_shares_of_both_arms(candidate: float, current: float, verdict: Verdict) -> None:
    result = judged(drawn(candidate, current))
    assert result.verdict is verdict, result.reason
    assert result.interval is not None
    low, high = result.interval
    assert result.limit == 0.02
    assert (high is not None and high <= 0.02) == (verdict is Verdict.PASS)
    assert (low is not None and low >= 0.02) == (verdict is Verdict.FAIL)
    assert result.value is not None
    assert low is not None
    assert low < result.value
    assert wanted(result).startswith("<")
    assert result.samples == 2 * 13 * WIDTH
    assert result.details["queries"] == [query.selector for arm in ARMS for query in (BAD[arm], ALL[arm])]
    assert result.details["window"] == ["2026-01-13T12:00:00+00:00", "2026-01-13T12:05:00+00:00"]


@pytest.mark.parametrize(("candidate", "current"), [(0.0, 0.0), (0.0, 0.05), (0.05, 0.05), (0.5, 0.05)])
def test_losing_all_must_be_noticed_before_a_lower_share_may_pass(candidate: float, current: float) -> None:
    """Nothing that counts in either arm is no equality; nor is a margin that is larger than what could be lost."""
    result = judged(drawn(candidate, current, worse="lower", margin=0.1, width=100))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "losing all of them would not be noticed" in result.reason


@pytest.mark.parametrize(
    ("candidate", "current", "verdict"),
    [(0.5, 0.5, Verdict.PASS), (0.2, 0.5, Verdict.FAIL), (0.9, 0.5, Verdict.PASS), (0.43, 0.5, Verdict.INCONCLUSIVE)],
)
def test_a_lower_share_may_be_the_worse_one(candidate: float, current: float, verdict: Verdict) -> None:
    result = judged(drawn(candidate, current, worse="lower", margin=0.1, width=100))
    assert result.verdict is verdict, result.reason
    assert (result.limit, result.direction) == (-0.1, "at_least")
    assert wanted(result).startswith(">")
    assert result.interval is not None
    low, high = result.interval
    assert (low is not None and low >= -0.1) == (verdict is Verdict.PASS)
    assert (high is not None and high <= -0.1) == (verdict is Verdict.FAIL)


@pytest.mark.parametrize(
    ("share", "limits", "verdict"),
    [
        (0.01, {"at_most": 0.05}, Verdict.PASS),
        (0.2, {"at_most": 0.05}, Verdict.FAIL),
        (0.05, {"at_most": 0.05}, Verdict.INCONCLUSIVE),
        (0.9, {"at_least": 0.7}, Verdict.PASS),
        (0.4, {"at_least": 0.7}, Verdict.FAIL),
        (0.7, {"at_least": 0.7}, Verdict.INCONCLUSIVE),
    ],
)
def test_the_share_of_the_candidate_against_a_limit(share: float, limits: dict[str, Any], verdict: Verdict) -> None:
    result = judged(drawn(share, 0.5, margin=None, worse=None, **limits))
    assert result.verdict is verdict, result.reason
    (direction, limit), interval = next(iter(limits.items())), result.interval
    assert (result.direction, result.limit) == (direction, limit)
    assert interval is not None
    inside = [end is not None and (end <= limit if direction == "at_most" else end >= limit) for end in interval]
    assert all(inside) == (verdict is Verdict.PASS)
    assert (not any(inside)) == (verdict is Verdict.FAIL)
    assert " is allowed" in result.reason
    assert "+" not in result.reason  # a share has no sign


def test_what_was_once_proved_harmful_stays_so() -> None:
    """A FAIL is not undone by what comes later."""
    bad = np.concatenate([np.full(20, 6.0), np.zeros(400)])
    answers = np.full(420, 13.0)
    found = of_ratio(
        online_policy("ratio"),
        {"candidate": bad, "current": np.zeros(420)},
        {"candidate": answers, "current": answers},
    )
    assert judged(found).verdict is Verdict.FAIL


def test_enough_evidence_is_not_enough_before_the_minimum_of_answers_and_minutes() -> None:
    assert judged(drawn(0.0, 0.05, minimum_requests=2 * 13 * WIDTH)).verdict is Verdict.PASS
    few = judged(drawn(0.0, 0.05, minimum_requests=2 * 13 * WIDTH + 26))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.details["more_answers_needed"] == 26
    assert "about 26 more answers" in few.reason
    early = replace(drawn(0.0, 0.05), policy=drawn(0.0, 0.05).policy.model_copy(update={"minimum_minutes": 10.0}))
    assert judged(early).verdict is Verdict.INCONCLUSIVE
    assert "2026-01-13 12:10:00 UTC" in judged(early).reason


def test_an_inconclusive_result_says_how_many_more_answers_and_when() -> None:
    result = judged(drawn(0.01, 0.02, width=20, minimum_requests=10))
    assert result.verdict is Verdict.INCONCLUSIVE
    more = result.details["more_answers_needed"]
    assert 100 < more < 5000
    assert f"about {more} more answers" in result.reason
    assert "2026-01-13 12:" in result.reason
    never = judged(drawn(0.035, 0.01))
    assert never.verdict is Verdict.INCONCLUSIVE
    assert "not at the present rates" in never.reason


def test_answers_of_one_user_count_once() -> None:
    assert judged(drawn(0.01, 0.01)).verdict is Verdict.PASS
    assert judged(drawn(0.01, 0.01, cluster_size=10.0)).verdict is Verdict.INCONCLUSIVE


def test_before_the_first_block_there_is_nothing_to_say() -> None:
    result = judged(view(online_policy("ratio"), 0))
    assert (result.verdict, result.samples) == (Verdict.INCONCLUSIVE, 0)


def test_while_prometheus_is_away_the_reason_says_so() -> None:
    """And not that there are no blocks, which nobody can mend."""
    found = drawn(0.0, 0.0)
    away = replace(found.online, bounds=np.zeros(0), scrapes=Missing("Prometheus can't be asked"))
    result = judged(replace(found, online=away))
    assert (result.verdict, result.reason) == (Verdict.ERROR, "Prometheus can't be asked")


def test_no_answers_at_all_are_inconclusive() -> None:
    nothing = {"candidate": np.zeros(30), "current": np.zeros(30)}
    result = judged(of_ratio(online_policy("ratio"), nothing, nothing))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "no answers yet" in result.reason


# What can't be measured

GOOD = drawn(0.0, 0.05)


def spoilt(values: Floats) -> list[tuple[str, Series]]:
    """Return series that no counter gives, with a part of the reason."""
    found = []
    for name, place, value in (
        ("infinite", 5, math.inf),
        ("negative", 5, -1.0),
        ("2^53", 5, 1e300),
        ("vanished|without", slice(-3, None), math.nan),
        ("no sample", slice(None), math.nan),
    ):
        other = values.copy()
        other[place] = value
        found.append((name, series(REPLICAS[0], other, variant="candidate", of="x")))
    return [*found, ("not sampled", series(REPLICAS[0], values[:-1], variant="candidate", of="x"))]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("asked", [BAD, ALL], ids=["count", "of"])
@pytest.mark.parametrize("number", range(6))
def test_what_is_no_count_is_an_error(arm: Arm, asked: dict[Arm, RangeQuery], number: int) -> None:
    query = asked[arm]
    history = GOOD.online.histories[query]
    assert isinstance(history, History)
    reason, broken = spoilt(history.series[0].values)[number]
    result = judged(with_series(GOOD, query, broken, *history.series[1:]))
    assert result.verdict is Verdict.ERROR
    assert any(part in result.reason for part in reason.split("|")), result.reason


@pytest.mark.parametrize("query", [*BAD.values(), *ALL.values()], ids=lambda query: query.selector)
def test_missing_series_are_an_error(query: RangeQuery) -> None:
    """None at all, none of one replica, one of them twice, an answer that did not come."""
    history = GOOD.online.histories[query]
    assert isinstance(history, History)
    one = history.series[0]
    for parts in ((), history.series[1:], (*history.series, one)):
        assert judged(with_series(GOOD, query, *parts)).verdict is Verdict.ERROR, parts
    assert "no series of" in judged(with_series(GOOD, query)).reason
    missing = {**GOOD.online.histories, query: Missing("Prometheus is away", settled=True)}
    result = judged(replace(GOOD, online=replace(GOOD.online, histories=missing)))
    assert (result.verdict, result.reason, result.settled) == (Verdict.ERROR, "Prometheus is away", True)
    del missing[query]
    assert judged(replace(GOOD, online=replace(GOOD.online, histories=missing))).verdict is Verdict.ERROR


@pytest.mark.parametrize("query", [*BAD.values(), *ALL.values()], ids=lambda query: query.selector)
def test_one_of_several_series_of_a_replica_that_ends_is_an_error(query: RangeQuery) -> None:
    """Its process goes on and was not restarted: what it would count is not known."""
    history = GOOD.online.histories[query]
    assert isinstance(history, History)
    values = np.zeros(WIDTH + 1)
    more = series(REPLICAS[0], values, endpoint="similar")
    assert judged(with_series(GOOD, query, *history.series, more)).verdict is Verdict.PASS
    values[-2:] = math.nan
    result = judged(with_series(GOOD, query, *history.series, more))
    assert result.verdict is Verdict.ERROR
    assert "has vanished, although its process goes on" in result.reason


def test_a_new_replica_that_counts_nothing_is_an_error() -> None:
    scrapes = GOOD.online.scrapes
    assert not isinstance(scrapes, Missing)
    more = (*scrapes, Scrape({"job": "api", "instance": "replica-3:8000"}, 1.0, GOOD.now.timestamp()))
    result = judged(replace(GOOD, online=replace(GOOD.online, scrapes=more)))
    assert result.verdict is Verdict.ERROR
    assert "replica-3:8000: scraped, but without" in result.reason
    assert judged(replace(GOOD, online=replace(GOOD.online, scrapes=Missing("away")))).verdict is Verdict.ERROR


def test_blocks_that_moved_or_ended_long_ago_or_lie_ahead_are_an_error() -> None:
    assert judged(GOOD).verdict is Verdict.PASS
    moved = replace(GOOD, online=replace(GOOD.online, bounds=GOOD.online.bounds + 1.0))
    assert "start of the trial" in judged(moved).reason
    for seconds in (-200.0, 200.0):
        other = replace(GOOD, now=GOOD.now + dt.timedelta(seconds=seconds))
        assert judged(other).verdict is Verdict.ERROR, seconds
    none = replace(view(online_policy("ratio"), 0), now=STARTED + dt.timedelta(minutes=5))
    assert judged(none).verdict is Verdict.ERROR


def test_what_a_block_counts_beyond_its_answers_goes_to_the_next_and_many_are_an_error() -> None:
    for count, verdict in ((1, Verdict.INCONCLUSIVE), (2, Verdict.ERROR)):
        bad = np.zeros(60)
        bad[10 : 10 + count] = 20.0
        answers = np.full(60, 13.0)
        found = of_ratio(
            online_policy("ratio"), {"candidate": bad, "current": bad}, {"candidate": answers, "current": answers}
        )
        result = judged(found)
        assert result.verdict is verdict
        if verdict is not Verdict.ERROR:
            assert result.details["impossible_blocks"] == 1
            assert result.details["candidate_share"] == pytest.approx(20.0 / (13.0 * 60.0))
            assert result.samples == 2 * 13 * 60


def test_a_scrape_between_the_two_counters_of_an_answer_hides_no_bad_one() -> None:
    """A candidate all of whose answers are bad, in blocks that are as wide as a third of the trial, fails as ever."""
    answers = np.array([200.0, 200.0, 200.0])
    shifted = {"candidate": np.array([201.0, 199.0, 200.0]), "current": np.zeros(3)}
    exact = {"candidate": answers, "current": np.zeros(3)}
    counted = {"candidate": answers, "current": answers}
    early, late = (judged(of_ratio(online_policy("ratio"), bad, counted)) for bad in (shifted, exact))
    assert early.verdict is late.verdict is Verdict.FAIL
    assert early.details["counting"] == [1200.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9), st.data())
def test_what_is_carried_is_neither_lost_nor_invented_and_more_is_never_less(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    x, n = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
    found = ratio._carried(x, n)
    assert ((found >= 0.0) & (found <= n)).all()
    assert (np.cumsum(found) <= np.cumsum(x)).all()
    left = 0.0  # the rule, one block after the other
    for place in range(len(x)):
        assert found[place] == min(x[place] + left, n[place])
        left += x[place] - found[place]
    more = x.copy()
    more[data.draw(st.integers(0, len(x) - 1))] += data.draw(st.integers(0, 9))
    assert (ratio._carried(more, n) >= found).all()


def test_what_prometheus_has_lost_is_no_trial() -> None:
    """It was restarted empty: the minimum of minutes counts from what it has."""
    whole = drawn(0.0, 0.05, width=60)  # five minutes
    lost = replace(
        whole,
        online=replace(
            whole.online,
            histories={
                query: History(
                    tuple(
                        Series(one.labels, np.where(np.arange(61) < 24, math.nan, one.values)) for one in found.series
                    )
                )
                for query, found in whole.online.histories.items()
                if isinstance(found, History)
            },
        ),
    )
    for minutes, verdict in ((2.9, Verdict.PASS), (3.1, Verdict.INCONCLUSIVE)):
        policy = whole.policy.model_copy(update={"minimum_minutes": minutes})
        assert judged(replace(whole, policy=policy)).verdict is Verdict.PASS
        result = judged(replace(lost, policy=policy))
        assert result.verdict is verdict, result.reason
        assert result.details["measured_minutes"] == pytest.approx(3.0, abs=0.02)


def test_sums_of_shares_may_be_rounded_above_their_count() -> None:
    """An overlap of 1 in every list adds up to a little more or less than the number of lists."""
    answers = np.full(60, 13.0)
    sums = answers + np.tile([3e-9, -3e-9], 30)
    found = of_ratio(
        online_policy("ratio", margin=None, worse=None, at_least=0.5),
        {"candidate": sums, "current": sums},
        {"candidate": answers, "current": answers},
    )
    assert judged(found).verdict is Verdict.PASS
    assert judged(found).details["impossible_blocks"] == 0


# Worse evidence, other orders

COUNTS = st.lists(st.integers(0, 13), min_size=20, max_size=60)
ORDER = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


@given(COUNTS, st.integers(0, 2), st.data())
@settings(max_examples=150, deadline=None)
def test_worse_answers_never_give_a_better_verdict(current: list[int], level: int, data: st.DataObject) -> None:
    width = len(current)
    bad = np.array(data.draw(st.lists(st.integers(0, (0, 3, 13)[level]), min_size=width, max_size=width)))
    worse = bad.copy()
    for place in data.draw(st.lists(st.integers(0, width - 1), max_size=5)):
        worse[place] = data.draw(st.integers(int(worse[place]), 13))
    answers = {"candidate": np.full(width, 13.0), "current": np.full(width, 13.0)}
    policy = online_policy("ratio", confidence=0.9, margin=0.1)
    first, second = (
        ORDER[judged(of_ratio(policy, {"candidate": counts, "current": current}, answers)).verdict]
        for counts in (bad, worse)
    )
    assert second >= first


@given(st.sampled_from([*BAD.values(), *ALL.values()]), st.integers(0, 1), st.integers(0, WIDTH), st.data())
@settings(max_examples=100, deadline=None)
def test_a_spoilt_sample_never_passes(query: RangeQuery, number: int, place: int, data: st.DataObject) -> None:
    """Infinite or negative anywhere is an ERROR; NaN is a gap, and at the end of a series it is one too."""
    value = data.draw(st.sampled_from([math.inf, -math.inf, -1.0, -1e-9, 1e17, math.nan]))
    history = GOOD.online.histories[query]
    assert isinstance(history, History)
    values = history.series[number].values.copy()
    values[place] = value
    parts = list(history.series)
    parts[number] = Series(parts[number].labels, values)
    result = judged(with_series(GOOD, query, *parts))
    if math.isnan(value) and place < WIDTH:
        assert result.verdict in {Verdict.PASS, Verdict.ERROR, Verdict.INCONCLUSIVE}
    else:
        assert result.verdict is Verdict.ERROR


@given(st.permutations(range(2)), st.permutations(range(4)))
@settings(deadline=None)
def test_order_and_repetition_change_nothing(inside: list[int], outside: list[int]) -> None:
    queries = [*BAD.values(), *ALL.values()]
    histories = {}
    for number in outside:
        history = GOOD.online.histories[queries[number]]
        assert isinstance(history, History)
        histories[queries[number]] = History(tuple(history.series[place] for place in inside))
    found = replace(GOOD, online=replace(GOOD.online, histories=histories))
    assert judged(found) == judged(found) == judged(GOOD)
