"""The checks ``non_inferiority`` and ``superiority``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model_release import bootstrap
from model_release.checks import comparison
from model_release.evidence import Evaluation, Evidence, Missing, PerUser, RegistryFacts
from model_release.judge import judge
from model_release.policy import NonInferiorityPolicy, SuperiorityPolicy
from model_release.statistics import Floats
from model_release.verdict import CheckResult, Verdict
from tests.gate_evidence import NOW, check, evidence, per_user, policy, values

GOOD = evidence()


def rule(**changes: Any) -> NonInferiorityPolicy:
    """Return the policy of a comparison."""
    wanted = {key: value for key, value in check("non_inferiority", **changes).items() if value is not None}
    found = policy(wanted).checks[0]
    assert isinstance(found, NonInferiorityPolicy)
    return found


def better(found: Evidence, **changes: Any) -> list[CheckResult]:
    """Return the results of a check that the candidate is better."""
    wanted = {key: value for key, value in check("superiority", **changes).items() if value is not None}
    asked = policy(wanted).checks[0]
    assert isinstance(asked, SuperiorityPolicy)
    return list(comparison.check(asked, found, on_no_baseline="fail"))


def judged(found: Evidence, **changes: Any) -> list[CheckResult]:
    """Return the results of a comparison."""
    return list(comparison.check(rule(**changes), found, on_no_baseline="fail"))


def compared(candidate: Floats, current: Floats, **changes: Any) -> CheckResult:
    """Return the result of a comparison of these values."""
    (result,) = judged(replace(GOOD, per_user=per_user(candidate, current)), **changes)
    return result


def changed(found: PerUser, **changes: Any) -> Evidence:
    """Return evidence with other per-user values."""
    return replace(GOOD, per_user=replace(found, **changes))


@pytest.mark.parametrize("method", ["t", "bootstrap"])
@pytest.mark.parametrize(("better_by", "verdict"), [(0.05, Verdict.PASS), (0.0, Verdict.PASS), (-0.1, Verdict.FAIL)])
def test_clear_cases(method: str, better_by: float, verdict: Verdict) -> None:
    """Better and equal pass, much worse fails, by either method."""
    candidate, current = values(better_by=better_by)
    assert compared(candidate, current, method=method).verdict is verdict


def test_the_three_verdicts_are_where_the_interval_is() -> None:
    """PASS iff the lower bound is above -margin, FAIL iff the upper is below, else INCONCLUSIVE."""
    candidate, current = values()
    base = compared(candidate, current)
    assert base.interval is not None
    low, high = base.interval
    assert low is not None
    assert high is not None
    for shift, verdict in (
        (-0.02 - low + 1e-9, Verdict.PASS),
        (-0.02 - low - 1e-9, Verdict.INCONCLUSIVE),
        (-0.02 - high + 1e-9, Verdict.INCONCLUSIVE),
        (-0.02 - high - 1e-9, Verdict.FAIL),
    ):
        assert compared(candidate + shift, current).verdict is verdict


def test_inconclusive_says_how_many_users_would_do() -> None:
    """The detectable effect is larger than the margin, and the number of users needed larger than those there."""
    candidate, current = values(better_by=-0.01, users=120)
    result = compared(candidate, current, margin=0.005)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.details["minimum_detectable_effect"] > 0.005
    assert result.details["users_needed"] > 120
    assert str(result.details["users_needed"]) in result.reason
    assert result.settled


def test_a_run_compared_with_itself_passes() -> None:
    """No difference at all has an interval of no width, above any margin."""
    candidate, _ = values()
    result = compared(candidate, candidate)
    assert (result.verdict, result.value, result.interval) == (Verdict.PASS, 0.0, (0.0, 0.0))


def test_a_relative_margin_is_one_of_the_current_mean() -> None:
    """Limit, value and interval are in units of the metric."""
    candidate, current = values()
    result = compared(candidate, current, margin=None, relative_margin=0.1)
    assert result.limit == pytest.approx(-0.1 * current.mean())
    assert result.value == pytest.approx(candidate.mean() - current.mean())
    assert result.details["relative_margin"] == 0.1
    assert (result.details["candidate_mean"], result.details["current_mean"]) == pytest.approx(
        (candidate.mean(), current.mean())
    )


def test_a_margin_relative_to_nothing_is_an_error() -> None:
    """A current run that never hits has no scale."""
    candidate, _ = values()
    result = compared(candidate, np.zeros_like(candidate), margin=None, relative_margin=0.1)
    assert result.verdict is Verdict.ERROR
    assert "absolute" in result.reason


@pytest.mark.parametrize("margin", [{"margin": 0.004}, {"margin": None, "relative_margin": 0.1}])
def test_candidates_at_the_margin_pass_as_rarely_as_promised(margin: dict[str, Any]) -> None:
    """Runs that are truly worse by exactly the margin: the share that passes is at most alpha, within its error.

    The true mean of the current metric is known, so that a relative margin is met exactly; its estimate varies.
    """
    rng = np.random.default_rng(20260105)
    trials, n, mean = 1500, 300, 0.04
    passed = 0
    for _ in range(trials):
        current = rng.exponential(mean, n)
        candidate = current + rng.normal(-0.004, 0.05, n)  # 10 % of the mean
        passed += compared(candidate, current, method="t", **margin).verdict is Verdict.PASS
    error = math.sqrt(0.05 * 0.95 / trials)
    assert passed / trials <= 0.05 + 3.5 * error
    assert passed / trials >= 0.05 - 3.5 * error


def test_fewer_users_than_the_minimum_say_nothing() -> None:
    """Neither a good nor a terrible difference counts."""
    for better_by in (0.2, -0.2):
        candidate, current = values(better_by=better_by, users=99)
        result = compared(candidate, current)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert (result.samples, result.minimum_samples) == (99, 100)
        assert "1 more" in result.reason


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["candidate", "current"])
def test_one_value_that_is_no_number_spoils_the_comparison(number: float, side: str) -> None:
    """A user without a value for both runs: not the same users.  ERROR, however good the rest is."""
    candidate, current = values(better_by=0.2)
    (candidate if side == "candidate" else current)[17] = number
    result = compared(candidate, current)
    assert result.verdict is Verdict.ERROR
    assert "1 of 600 users" in result.reason


def test_missing_users_are_counted_by_run() -> None:
    """Whom one run has and the other lacks, and whom neither has."""
    candidate, current = values(better_by=0.2)
    candidate[[1, 2, 3]] = math.nan
    current[[3, 4]] = math.nan
    result = compared(candidate, current)
    assert result.verdict is Verdict.ERROR
    assert "4 of 600 users" in result.reason
    assert "1 have one for the candidate only, 2 for the current run only, 1 for neither" in result.reason


def test_the_result_tells_who_is_not_in_it() -> None:
    """Users with nothing to judge, and users that a run does not know, as the summary counts them."""
    result = compared(*values())
    assert result.details["users_without_interactions"] == 40
    assert result.details["unknown_users"] == {"candidate": 3, "current": 5}


def test_a_user_counts_once() -> None:
    """A user that stands there twice would make the interval too narrow."""
    found = per_user(*values())
    users = found.users.copy()
    users[1] = users[0]
    (result,) = judged(changed(found, users=users))
    assert result.verdict is Verdict.ERROR
    assert "repeat" in result.reason


def test_one_result_per_slice_and_the_worst_counts() -> None:
    """A loss for the few is not hidden by a gain for the many."""
    candidate, current = values(better_by=0.05)
    candidate[0::3] -= 0.2  # users of low activity
    slices = [{}, {"users": "low"}, {"users": "high"}, {"items": "new"}]
    found = judged(replace(GOOD, per_user=per_user(candidate, current)), slices=slices)
    by_subject = {result.subject: result for result in found}
    assert by_subject["ndcg_at_10 (low users)"].verdict is Verdict.FAIL
    assert by_subject["ndcg_at_10 (high users)"].verdict is Verdict.PASS
    assert by_subject["ndcg_at_10 (low users)"].samples == 200
    assert by_subject["ndcg_at_10 (new items)"].samples == 300
    assert by_subject["ndcg_at_10"].samples == 600


@pytest.mark.parametrize("part", [{"users": "lows"}, {"items": "old"}, {"users": "low", "items": "old"}])
def test_a_slice_that_does_not_exist_is_an_error(part: dict[str, str]) -> None:
    """A misspelt slice checks nobody, which is not a pass; the message lists the real ones."""
    (result,) = judged(GOOD, slices=[part])
    assert result.verdict is Verdict.ERROR
    assert "there are: " in result.reason


def test_a_metric_that_was_not_measured_for_both_is_an_error() -> None:
    """For neither, or for one of the runs."""
    (result,) = judged(GOOD, metric="ndcg_at_100")
    assert result.verdict is Verdict.ERROR
    assert "ndcg_at_10" in result.reason
    (result,) = judged(changed(per_user(*values()), current={}))
    assert result.verdict is Verdict.ERROR


@pytest.mark.parametrize(("says", "verdict"), [("pass", Verdict.PASS), ("fail", Verdict.FAIL)])
def test_without_a_current_run_the_policy_decides(says: Any, verdict: Verdict) -> None:
    """The result is stamped ``no_baseline`` either way."""
    (result,) = comparison.check(rule(), evidence(baseline=False), on_no_baseline=says)
    assert result.verdict is verdict
    assert "no_baseline" in result.reason
    assert result.details["no_baseline"] is True


def with_evaluation(**changes: Any) -> Evidence:
    """Return evidence whose summary says something else."""
    assert isinstance(GOOD.evaluation, Evaluation)
    return replace(GOOD, evaluation=GOOD.evaluation.model_copy(update=changes))


def with_registry(**changes: Any) -> Evidence:
    """Return evidence whose registry says something else."""
    assert isinstance(GOOD.registry, RegistryFacts)
    return replace(GOOD, registry=replace(GOOD.registry, **changes))


LEAK = "current run trained on data inside the test window"


@pytest.mark.parametrize(
    ("found", "reason", "settled"),
    [
        (replace(GOOD, registry=Missing("damaged")), "damaged", False),
        (replace(GOOD, evaluation=Missing("no file")), "no file", False),
        (replace(GOOD, per_user=Missing("no values")), "no values", False),
        (with_registry(current_run_id="run-other"), "but current is now 'run-other'", True),
        (with_registry(current_manifest_sha256="c" * 64), "not those that were registered", True),
        (with_evaluation(comparable=False, against=None, against_reason=LEAK), LEAK, True),
        (with_evaluation(comparable=False, against=None, against_reason="no current run"), "no run was current", True),
        (with_registry(current_run_id=GOOD.run_id), "is the current run itself", True),
    ],
)
def test_what_is_no_comparison_with_the_current_run_is_an_error(found: Evidence, reason: str, settled: bool) -> None:
    """Unreadable, of another run, of other files, or not comparable: never a number, never a pass."""
    (result,) = judged(found)
    assert result.verdict is Verdict.ERROR
    assert reason in result.reason
    assert result.settled is settled


@given(seed=st.integers(0, 50), loss=st.floats(0, 0.3), more=st.floats(0, 0.3))
@settings(max_examples=100, deadline=None)
def test_a_worse_candidate_never_gets_a_better_verdict(seed: int, loss: float, more: float) -> None:
    """For any values: taking the same amount from every user never improves the verdict."""
    candidate, current = values(seed, users=120)
    for method in ("t", "bootstrap"):
        first = compared(candidate - loss, current, method=method, margin=0.02).verdict
        second = compared(candidate - loss - more, current, method=method, margin=0.02).verdict
        assert [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL].index(second) >= [
            Verdict.PASS,
            Verdict.INCONCLUSIVE,
            Verdict.FAIL,
        ].index(first)


def test_the_order_of_users_does_not_matter_to_t() -> None:
    """A shuffled file gives the same decision up to rounding."""
    candidate, current = values()
    order = np.random.default_rng(1).permutation(len(candidate))
    first = compared(candidate, current, method="t")
    second = compared(candidate[order], current[order], method="t")
    assert first.interval == pytest.approx(second.interval)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
@pytest.mark.parametrize(("better_by", "verdict"), [(0.05, Verdict.PASS), (0.0, Verdict.FAIL), (-0.1, Verdict.FAIL)])
def test_better_is_more_than_not_worse(method: str, better_by: float, verdict: Verdict) -> None:
    """An equal run is not better by the gain, and with enough users that is known."""
    found = replace(GOOD, per_user=per_user(*values(better_by=better_by)))
    (result,) = better(found, method=method)
    assert result.verdict is verdict
    assert (result.limit, result.details["gain"]) == (0.01, 0.01)
    assert "wanted is +0.0100" in result.reason


def test_the_verdicts_of_superiority_are_where_the_interval_is() -> None:
    """PASS iff the lower bound is above the gain, FAIL iff the upper is below, else INCONCLUSIVE."""
    candidate, current = values()
    (base,) = better(GOOD)
    assert base.interval is not None
    low, high = base.interval
    assert low is not None
    assert high is not None
    for shift, verdict in (
        (0.01 - low + 1e-9, Verdict.PASS),
        (0.01 - low - 1e-9, Verdict.INCONCLUSIVE),
        (0.01 - high + 1e-9, Verdict.INCONCLUSIVE),
        (0.01 - high - 1e-9, Verdict.FAIL),
    ):
        (result,) = better(replace(GOOD, per_user=per_user(candidate + shift, current)))
        assert result.verdict is verdict


def test_a_run_is_not_better_than_itself() -> None:
    """A gain of nothing means better at all: an interval of no width at 0 shows neither."""
    candidate, _ = values()
    (result,) = better(replace(GOOD, per_user=per_user(candidate, candidate)), gain=0.0)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.settled
    (result,) = better(replace(GOOD, per_user=per_user(candidate, candidate)))
    assert result.verdict is Verdict.FAIL


def test_a_relative_gain_is_one_of_the_current_mean() -> None:
    """Twice as good, by values that are exactly twice as large, lies at a relative gain of 1 and nowhere else."""
    _, current = values()
    found = replace(GOOD, per_user=per_user(2 * current, current))
    for gain, verdict in ((0.99, Verdict.PASS), (1.01, Verdict.FAIL)):
        (result,) = better(found, gain=None, relative_gain=gain)
        assert result.verdict is verdict
        assert result.limit == pytest.approx(gain * current.mean())
    nothing = replace(GOOD, per_user=per_user(current, np.zeros_like(current)))
    (result,) = better(nothing, gain=None, relative_gain=0.1)
    assert result.verdict is Verdict.ERROR
    assert "gain relative to it" in result.reason
    (result,) = better(nothing, gain=None, relative_gain=0.0)
    assert result.verdict is Verdict.PASS, "a share of 0 needs no scale"


def test_superiority_says_what_the_users_can_tell() -> None:
    """The smallest difference that would pass, and how many users the measured one would need."""
    candidate, current = values(users=600)
    found = replace(GOOD, per_user=per_user(candidate - candidate.mean() + current.mean() + 0.012, current))
    (result,) = better(found)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.details["minimum_detectable_effect"] > 0.012
    assert result.details["users_needed"] > 600
    assert str(result.details["users_needed"]) in result.reason
    (result,) = better(replace(GOOD, per_user=per_user(current + 0.0099, current)))
    assert result.details["users_needed"] is None


def test_superiority_at_the_gain_passes_as_rarely_as_promised() -> None:
    """Runs that are truly better by exactly the relative gain: the share that passes is alpha, within its error."""
    rng = np.random.default_rng(20260106)
    trials, n, mean = 1500, 300, 0.04
    passed = 0
    for _ in range(trials):
        current = rng.exponential(mean, n)
        candidate = current + rng.normal(0.004, 0.05, n)  # 10 % of the mean
        found = replace(GOOD, per_user=per_user(candidate, current))
        passed += better(found, method="t", gain=None, relative_gain=0.1)[0].verdict is Verdict.PASS
    assert passed / trials == pytest.approx(0.05, abs=3.5 * math.sqrt(0.05 * 0.95 / trials))


@pytest.mark.parametrize(("says", "verdict"), [("pass", Verdict.PASS), ("fail", Verdict.FAIL)])
def test_superiority_without_a_current_run(says: Any, verdict: Verdict) -> None:
    """The policy decides, as for non-inferiority."""
    asked = policy(check("superiority")).checks[0]
    assert isinstance(asked, SuperiorityPolicy)
    (result,) = comparison.check(asked, evidence(baseline=False), on_no_baseline=says)
    assert (result.verdict, result.details["no_baseline"]) == (verdict, True)


THIRDS = [{"users": "low"}, {"users": "medium"}, {"users": "high"}]


def losing(p_value: float, *, others: float = 0.0) -> Evidence:
    """Return evidence whose users of low activity are below a margin of 0.02 with this p-value (by t)."""
    rng = np.random.default_rng(3)
    current = rng.beta(0.4, 2.0, 600)
    noise = rng.normal(0, 0.05, 600)
    for place in range(3):
        part = noise[place::3]
        noise[place::3] = (part - part.mean()) * 0.05 / part.std(ddof=1)
    noise += others
    error = 0.05 / math.sqrt(200)
    noise[0::3] += -others - 0.02 + float(stats.t.ppf(p_value, 199)) * error
    return replace(GOOD, per_user=per_user(current + noise, current))


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_one_bad_slice_of_three_fails_only_after_correction(method: str) -> None:
    """P 0.03 of one slice alone is harm; among three slices it is 0.09, which chance may do."""
    found = losing(0.03)
    (alone,) = judged(found, method=method, slices=THIRDS[:1])
    assert alone.verdict is Verdict.FAIL
    assert alone.details["p_below_adjusted"] == alone.details["p_below"] == pytest.approx(0.03, abs=0.012)
    low, *others = judged(found, method=method, slices=THIRDS)
    assert low.verdict is Verdict.INCONCLUSIVE
    assert low.settled
    assert low.details["p_below_adjusted"] == pytest.approx(3 * low.details["p_below"])
    assert low.details["slices"] == 3
    assert "3 slices were looked at" in low.reason
    assert "Holm" in low.reason
    assert [each.verdict for each in others] == [Verdict.PASS, Verdict.PASS]
    (clear, *_) = judged(losing(0.005), method=method, slices=THIRDS)
    assert clear.verdict is Verdict.FAIL
    assert "3 slices" not in clear.reason


def test_a_slice_that_can_not_be_judged_counts_as_looked_at() -> None:
    """The family is what the policy names, whatever the data lack: a missing slice makes no other one look worse."""
    with_error = judged(losing(0.03), method="t", slices=[*THIRDS[:2], {"users": "nobody"}])
    assert [each.verdict for each in with_error] == [Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.ERROR]
    assert with_error[0].details["p_below_adjusted"] == pytest.approx(0.09)


def test_no_correction_makes_a_slice_pass() -> None:
    """Every slice has to pass by its own bound: equal slices pass whether there are one or three."""
    equal = replace(GOOD, per_user=per_user(*values()))
    alone = [judged(equal, slices=[part])[0] for part in THIRDS]
    together = judged(equal, slices=THIRDS)
    assert [each.verdict for each in together] == [each.verdict for each in alone]
    assert [each.interval for each in together] == [each.interval for each in alone]


@given(seed=st.integers(0, 30), loss=st.floats(0, 0.1), more=st.floats(0, 0.1), part=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_a_loss_in_one_slice_never_improves_any_verdict(seed: int, loss: float, more: float, part: int) -> None:
    """For any values: the verdict of every slice stays or gets worse, corrections included."""
    candidate, current = values(seed, users=180)
    candidate -= loss
    before = judged(replace(GOOD, per_user=per_user(candidate, current)), slices=THIRDS, minimum_users=20)
    candidate[part::3] -= more
    after = judged(replace(GOOD, per_user=per_user(candidate, current)), slices=THIRDS, minimum_users=20)
    for old, new in zip(before, after, strict=True):
        assert new.verdict.badness >= old.verdict.badness


def test_many_comparisons_share_their_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten checks of the same users draw once, and each says to the last bit what it says alone, in any order."""
    names = ("ndcg_at_10", "recall_at_20", "map_at_10", "hit_rate_at_10")
    checks = [
        check("non_inferiority", name=f"{name}-{kind}", metric=name, **limit)
        for name in names
        for kind, limit in (("absolute", {}), ("relative", {"margin": None, "relative_margin": 0.1}))
    ]
    checks = [{key: value for key, value in each.items() if value is not None} for each in checks]
    columns = {name: values(place)[0] for place, name in enumerate(names)}
    usual = per_user(*values())
    found = replace(
        GOOD,
        per_user=replace(usual, candidate={name: np.concatenate([each, each[::2]]) for name, each in columns.items()}),
    )
    alone = {each["name"]: judge(policy(each), found, NOW).results[-1] for each in checks}
    drawn: list[tuple[int, ...]] = []
    real = bootstrap.pivots

    def counted(columns: Floats, *, resamples: int, seed: int) -> Floats:
        drawn.append(columns.shape)
        return real(columns, resamples=resamples, seed=seed)

    monkeypatch.setattr(bootstrap, "pivots", counted)
    together = judge(policy(*checks), found, NOW).results
    assert drawn == [(600, 8)]
    assert {each.check: each for each in together if each.check in alone} == alone
    backwards = judge(policy(*reversed(checks)), found, NOW).results
    assert sorted(backwards, key=lambda each: each.check) == sorted(together, key=lambda each: each.check)


def test_other_seeds_and_slices_are_resampled_apart() -> None:
    """Each check says what it says alone, also if the users or the draws differ."""
    checks = [
        check("non_inferiority", name="usual"),
        check("non_inferiority", name="seeded", seed=5),
        check("non_inferiority", name="more", resamples=3000),
        check("non_inferiority", name="parts", slices=[{"users": "low"}, {"items": "new"}]),
        check("superiority", name="better"),
    ]
    alone = [each for one in checks for each in judge(policy(one), GOOD, NOW).results[2:]]
    assert list(judge(policy(*checks), GOOD, NOW).results[2:]) == alone


@pytest.mark.parametrize(("changed", "by"), [(4, 0.4), (40, -0.4)])
def test_the_bootstrap_of_the_gate_is_never_narrower_than_students(changed: int, by: float) -> None:
    """Where few users change, resamples of almost nothing are too sure: the outer of both counts, on either side."""
    current = values(users=120)[1]
    candidate = current.copy()
    candidate[:changed] += by * np.random.default_rng(2).exponential(1.0, changed)
    by_t, ours = (compared(candidate, current, method=method, margin=0.02) for method in ("t", "bootstrap"))
    alone = bootstrap.bootstrap_interval(candidate - current, 0.95, resamples=2000, seed=0)
    assert ours.interval is not None
    assert by_t.interval is not None
    assert by_t.interval[0] is not None
    assert by_t.interval[1] is not None
    expected = min(by_t.interval[0], alone.lower), max(by_t.interval[1], alone.upper)
    assert ours.interval == pytest.approx(expected, abs=1e-9)
    assert expected != pytest.approx((alone.lower, alone.upper), abs=1e-4), "the example would not tell"
    assert ours.details["p_below"] >= by_t.details["p_below"]


def test_the_larger_p_value_counts() -> None:
    """A claim of harm has to hold by bootstrap and by Student's t: by whichever is less sure."""
    current = values(users=120)[1]
    student_is_larger = []
    for sign in (-1.0, 1.0):
        candidate = current - 0.02 + sign * (np.random.default_rng(2).exponential(0.1, 120) - 0.1) - 0.015
        by_t, ours = (compared(candidate, current, method=method, margin=0.02) for method in ("t", "bootstrap"))
        contrast = candidate - current + 0.02
        found = bootstrap.pivots(contrast[:, None], resamples=2000, seed=0)[:, 0]
        alone = bootstrap.pivot_p_below(bootstrap.pivot_interval(contrast, found, 0.95), found)
        assert ours.details["p_below"] == pytest.approx(max(alone, by_t.details["p_below"]))
        student_is_larger.append(by_t.details["p_below"] > alone)
    assert set(student_is_larger) == {True, False}, "the examples would not tell"
