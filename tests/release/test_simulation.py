"""A policy that is tried: equal runs, worse runs, and how exactly their shares are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.errors import InvalidInputError
from model_release.evidence import Evaluation, PerUser
from model_release.judge import outcome
from model_release.policy import Policy, parse_policy
from model_release.simulation.offline import Users, resampled, simulate_offline
from model_release.simulation.online import (
    cuts_of,
    describe,
    example_trial,
    simulate_online,
    simulated_part,
    traffic_for,
)
from model_release.simulation.peeking import judged, tried
from model_release.simulation.tally import Attempt, Ending, Share, Tally, worst_reach
from model_release.simulation.traffic import Chance, Observed, Traffic, Worse, observe
from model_release.simulation.typical import typical_needs
from tests.gate_evidence import check, evidence, policy, summary, values
from tests.gate_evidence import per_user as rows

ONLINE: dict[str, Any] = {
    "replicas": 'up{job="api"}',
    "minimum_minutes": 2,
    "step_seconds": 15,
    "budgets": {"error_minutes": 1, "inconclusive_minutes": 20},
    "checks": [
        {
            "name": "errors", "kind": "ratio", "count": ['e{arm="$arm"}'], "of": ['n{arm="$arm"}'], "margin": 0.02,
            "worse": "higher", "minimum_requests": 100,
        },
        {"name": "slow", "kind": "latency", "histogram": 't{arm="$arm"}', "margin": 0.05, "minimum_requests": 100},
        {"name": "split", "kind": "sample_ratio", "users": 'u{arm="$arm"}', "minimum_users": 50},
        {"name": "lists", "kind": "query", "query": "x", "at_least": 0.5},
    ],
}  # fmt: skip
POLICY = policy(check("non_inferiority", method="t"), online=ONLINE)
GIVEN = Traffic("canary", requests_per_second=40.0, rollout=0.3, users=500)
TRAFFIC = traffic_for(POLICY, GIVEN, None)


def evaluation() -> Evaluation:
    candidate, current = values()
    return Evaluation.model_validate_json(json.dumps(summary(candidate, current)))


def drawn(worse: Worse, seed: int, of: Policy = POLICY, traffic: Traffic = TRAFFIC) -> tuple[Policy, Observed]:
    online = simulated_part(of, traffic.mode)
    trial = example_trial(traffic.mode, traffic.rollout)
    lot = Chance(np.random.default_rng(seed))
    return of.model_copy(update={"online": online}), observe(online, trial, cuts_of(online), traffic, worse, lot)


@given(count=st.integers(0, 40), rest=st.integers(0, 40))
def test_the_interval_of_a_share_is_exact(count: int, rest: int) -> None:
    """Clopper and Pearson: at either end the count is just not surprising at 2.5 %."""
    from scipy.stats import binom

    if count + rest == 0:
        return
    share = Share(count, count + rest)
    low, high = share.interval
    assert low <= share.value <= high
    if count:
        assert binom.sf(count - 1, share.of, low) == pytest.approx(0.025)
    if rest:
        assert binom.cdf(count, share.of, high) == pytest.approx(0.025)
    assert high - low <= 2 * worst_reach(share.of) + 1e-3


def test_a_tally_counts_every_ending_and_times_decisions_only() -> None:
    """What was still open at the end of the wait took no time to decide: it was not decided."""
    endings = [(Ending.PASSED, 10.0), (Ending.PASSED, 12.0), (Ending.FAILED, 1.0), (Ending.UNDECIDED, 20.0)]
    tally = Tally("online", "x", tuple(Attempt(*one) for one in endings))
    assert [tally.share(ending).count for ending in Ending] == [2, 1, 1, 0]
    assert (tally.minutes(0.5), tally.minutes(0.9)) == (10.0, 12.0)
    assert tally.document()["minutes_to_decision"] == {"median": 10.0, "90%": 12.0}
    assert Tally("offline", "x", (Attempt(Ending.PASSED),)).minutes(0.5) is None


def test_equal_runs_are_equal_on_average_and_keep_each_users_rows() -> None:
    """Users are drawn with all their rows; who is candidate is drawn per user; the difference averages to nothing."""
    candidate, current = values(better_by=0.1)
    whole = rows(candidate, current)
    users = Users.of(whole)
    differences = []
    for seed in range(40):
        one = resampled(whole, users, np.random.default_rng(seed), worse_by=0.0)
        everybody = one.item_slices == "all"
        assert len(np.unique(one.users[everybody])) == everybody.sum() == len(candidate)
        differences.append(float((one.candidate["ndcg_at_10"] - one.current["ndcg_at_10"])[everybody].mean()))
        again = one.candidate["ndcg_at_10"][~everybody]
        first = dict(zip(one.users[everybody], one.candidate["ndcg_at_10"][everybody], strict=True))
        assert all(first[user] == value for user, value in zip(one.users[~everybody], again, strict=True))
    spread = float(np.std(differences)) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < 4 * spread
    assert float((candidate - current).mean()) > 10 * spread  # the real runs differ


def test_worse_runs_are_worse_by_what_was_asked_for() -> None:
    candidate, current = values()
    whole = rows(candidate, current)
    users = Users.of(whole)
    equal, worse = (resampled(whole, users, np.random.default_rng(0), worse_by=by) for by in (0.0, 0.05))
    assert worse.candidate["ndcg_at_10"].mean() == pytest.approx(0.95 * equal.candidate["ndcg_at_10"].mean())
    assert (worse.current["ndcg_at_10"] == equal.current["ndcg_at_10"]).all()


def test_before_a_trial_equal_runs_pass_and_much_worse_ones_fail() -> None:
    """With a margin that the users can tell; the same seed gives the same counts."""
    whole = evidence().per_user
    assert isinstance(whole, PerUser)
    part = policy(check("non_inferiority", margin=0.02, method="t"), check("data_quality"))
    endings = {
        by: simulate_offline(part, evaluation(), whole, regression=by, repeats=40, seed=1) for by in (0.0, 0.125, 0.3)
    }
    assert endings[0.0].share(Ending.PASSED).value > 0.9
    assert endings[0.125].share(Ending.PASSED).interval[0] <= 0.05  # 0.125 of the mean is the margin
    assert endings[0.3].share(Ending.FAILED).value > 0.9
    assert endings[0.3] == simulate_offline(part, evaluation(), whole, regression=0.3, repeats=40, seed=1)
    assert endings[0.0].share(Ending.UNMEASURED).count == 0  # data quality is not simulated, and not missed


def test_nothing_to_simulate_is_said() -> None:
    whole = evidence().per_user
    assert isinstance(whole, PerUser)
    with pytest.raises(InvalidInputError, match="nothing to simulate"):
        simulate_offline(policy(check("data_quality")), evaluation(), whole, regression=0.0, repeats=1, seed=0)
    with pytest.raises(InvalidInputError, match="compares no two runs"):
        simulate_offline(POLICY, evaluation(), replace(whole, current={}), regression=0.0, repeats=1, seed=0)
    with pytest.raises(InvalidInputError, match="no online section"):
        traffic_for(policy(check("absolute")), GIVEN, None)
    only = policy(check("absolute"), online={**ONLINE, "checks": [{**ONLINE["checks"][0], "modes": ["canary"]}]})
    with pytest.raises(InvalidInputError, match="blocks in mode shadow"):
        traffic_for(only, replace(GIVEN, mode="shadow"), None)


@pytest.mark.parametrize(
    "worse", [Worse(), Worse(shares=0.02), Worse(shares=0.1), Worse(latency=2.0)], ids=lambda w: w.name
)
@pytest.mark.parametrize("seed", range(3))
def test_a_look_is_taken_after_every_block(worse: Worse, seed: int) -> None:
    """What is found by the e-processes of the whole trial is what a gate finds that looks again and again."""
    part, seen = drawn(worse, seed)
    assert part.online is not None
    for block in range(1, len(seen.bounds)):
        now = seen.time(block)
        decision = judged(part, seen, block)
        if outcome(decision, started_at=seen.trial.started_at, now=now, budgets=part.online.budgets) != "wait":
            break
    assert tried(part, seen) == Attempt(Ending.of(decision.verdict), (now - seen.trial.started_at).total_seconds() / 60)


def test_a_split_that_is_wrong_is_found_without_answers() -> None:
    """Users tell it before answers do: of a rollout of 0.3 half of them got the candidate."""
    part, seen = drawn(Worse(), 0, traffic=TRAFFIC)
    both = [series for query, series in seen.users.items()]
    wrong = replace(seen, users=dict.fromkeys(seen.users, (both[0] + both[1]) / 2))
    attempt = tried(part, wrong)
    assert attempt.ending is Ending.FAILED
    assert attempt.minutes is not None
    assert attempt.minutes < 2


def test_on_trial_equal_runs_pass_and_worse_ones_do_not() -> None:
    """Errors and latency beyond the margin fail within minutes; exactly the margin passes hardly ever."""
    tallies = {
        worse: simulate_online(POLICY, TRAFFIC, worse, repeats=12, seed=0)
        for worse in (Worse(), Worse(shares=0.02), Worse(shares=0.15), Worse(latency=3.0))
    }
    assert tallies[Worse()].share(Ending.PASSED).count >= 10
    assert tallies[Worse(shares=0.02)].share(Ending.PASSED).count == 0
    for worse in (Worse(shares=0.15), Worse(latency=3.0)):
        assert tallies[worse].share(Ending.FAILED).count == 12
        assert (tallies[worse].minutes(0.9) or 99) < 5
    assert tallies[Worse()] == simulate_online(POLICY, TRAFFIC, Worse(), repeats=12, seed=0)


def test_what_is_guessed_and_what_is_left_out_is_told() -> None:
    """A share that was given or measured is no guess."""
    told = describe(POLICY, TRAFFIC)
    assert "guessed, not measured: errors, slow" in told
    assert "not simulated: lists" in told
    assert "errors 0.25" in describe(POLICY, traffic_for(POLICY, replace(GIVEN, shares={"errors": 0.25}), None))


@given(median=st.floats(0.002, 0.4), share=st.floats(0.05, 0.9))
def test_rates_are_measured_in_a_past_trial(median: float, share: float) -> None:
    """The shares and the median of the current run, as far as counts of a trial tell them."""
    made = replace(TRAFFIC, requests_per_second=2000.0, shares={"errors": share}, latency_median=median)
    _, seen = drawn(Worse(shares=0.01, latency=1.5), 0, traffic=made)
    found = traffic_for(POLICY, GIVEN, seen.until(len(seen.bounds) - 1))
    assert found.shares["errors"] == pytest.approx(share, abs=0.01)
    assert found.latency_median == pytest.approx(median, rel=0.25)  # between two bounds of the histogram
    assert not found.guessed


def test_in_a_shadow_both_runs_answer_the_same_requests() -> None:
    """So that a selector that both share, with the candidate's count, never holds less than is counted of the other."""
    shadow = {
        **ONLINE,
        "checks": [{**ONLINE["checks"][0], "of": ["n"], "count": ['e{arm="$arm"}'], "modes": ["shadow"]}],
    }
    made = policy(check("absolute"), online=shadow)
    traffic = traffic_for(made, replace(GIVEN, mode="shadow", shares={"errors": 0.97}), None)
    part, seen = drawn(Worse(), 0, of=made, traffic=traffic)
    last = judged(part, seen, len(seen.bounds) - 1)
    (errors,) = [result for result in last.results if result.check == "errors"]
    assert errors.details["impossible_blocks"] == 0


def test_the_need_of_an_equal_run_is_when_its_check_first_passes() -> None:
    """With counts as they are on average; a check that can't pass within the wait says so."""
    needs = {need.check: need for need in typical_needs(POLICY, TRAFFIC)}
    assert set(needs) == {"errors", "slow", "split"}
    assert needs["errors"].minutes >= 2
    assert "passes after about" in needs["errors"].words
    few = replace(TRAFFIC, requests_per_second=0.5)
    assert "would be rejected" in {need.check: need for need in typical_needs(POLICY, few)}["errors"].words


def test_the_policy_of_these_tests_is_one() -> None:
    assert parse_policy(json.dumps(POLICY.model_dump(mode="json", exclude_none=True)), source="x") == POLICY
