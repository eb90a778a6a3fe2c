"""The gate as a function."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.errors import InvalidInputError
from model_release.evidence import Evaluation, Evidence, Missing, RegistryFacts, RunFacts
from model_release.judge import judge, outcome
from model_release.policy import Budgets, Policy, load_policy
from model_release.verdict import CheckResult, Decision, Verdict
from tests.gate_evidence import AS_OF, NOW, check, evidence, per_user, policy, values

DEFAULT = load_policy(Path(__file__).parents[2] / "config" / "release_policy.yaml")
ALL = policy(*(check(kind) for kind in ("data_quality", "freshness", "absolute", "non_inferiority")))
GOOD = evidence(better_by=0.05)
BUDGETS = Budgets(error_minutes=5, inconclusive_minutes=30)


def by_check(decision: Decision) -> dict[str, CheckResult]:
    """Return the first result of every check."""
    return {result.check: result for result in reversed(decision.results)}


@pytest.mark.parametrize("found", [ALL, DEFAULT], ids=["test policy", "default policy"])
def test_a_better_run_passes(found: Policy) -> None:
    """With good evidence everything passes, and the decision says what it was made of."""
    decision = judge(found, GOOD, NOW)
    assert decision.verdict is Verdict.PASS
    assert decision.released
    assert (decision.run_id, decision.against, decision.generation) == ("run-new", "run-old", 4)
    assert (decision.policy_name, decision.policy_sha256) == (found.name, found.sha256)
    assert not decision.no_baseline
    assert decision.decided_at == NOW
    assert len(decision.results) > len(found.checks)


def test_the_same_evidence_gives_the_same_decision() -> None:
    """To the byte, twice: nothing is drawn, counted or remembered."""
    first, second = (judge(DEFAULT, evidence(better_by=0.05), NOW) for _ in range(2))
    assert first.model_dump_json() == second.model_dump_json()


def test_a_worse_run_fails_with_numbers() -> None:
    """The summary names the check, both means and the bound."""
    decision = judge(DEFAULT, evidence(better_by=-0.1), NOW)
    assert decision.verdict is Verdict.FAIL
    assert "ndcg-not-worse" in decision.summary
    assert "against 0." in decision.summary
    result = by_check(decision)["ndcg-not-worse"]
    assert result.interval is not None
    assert result.limit is not None
    assert result.interval[1] is not None
    assert result.interval[1] < result.limit < 0


def test_the_first_release_is_stamped() -> None:
    """Without a current run the comparison passes only if the policy says so; everything else still counts."""
    found = evidence(baseline=False)
    assert judge(ALL, found, NOW).verdict is Verdict.FAIL
    lenient = policy(*(check(kind) for kind in ("absolute", "non_inferiority")), on_no_baseline="pass")
    decision = judge(lenient, found, NOW)
    assert decision.verdict is Verdict.PASS
    assert decision.no_baseline
    assert decision.against is None
    assert decision.generation == 0
    strict = policy(check("absolute", at_least=0.99), check("non_inferiority"), on_no_baseline="pass")
    assert judge(strict, found, NOW).verdict is Verdict.FAIL


def facts(**changes: Any) -> Evidence:
    """Return good evidence whose registry says something else."""
    assert isinstance(GOOD.registry, RegistryFacts)
    return replace(GOOD, registry=replace(GOOD.registry, **changes))


@pytest.mark.parametrize(
    ("found", "verdict", "name", "reason"),
    [
        (facts(latch="alert (set by x)"), Verdict.FAIL, "latch", "alert"),
        (replace(GOOD, registry=Missing("damaged")), Verdict.ERROR, "latch", "damaged"),
        (facts(candidate_manifest_sha256="c" * 64), Verdict.FAIL, "artifact", "was changed"),
        (replace(GOOD, run=Missing("no such run")), Verdict.ERROR, "artifact", "no such run"),
        (
            replace(GOOD, run=RunFacts("a" * 64, AS_OF + dt.timedelta(seconds=1))),
            Verdict.FAIL,
            "artifact",
            "seen the answers",
        ),
    ],
)
def test_what_is_always_checked(found: Evidence, verdict: Verdict, name: str, reason: str) -> None:
    """Latch, registry and the run itself count under a policy that never heard of them."""
    decision = judge(policy(check("data_quality")), found, NOW)
    assert decision.verdict is verdict
    assert by_check(decision)[name].verdict is verdict
    assert reason in decision.summary


def test_a_run_that_is_not_registered_yet_can_be_judged() -> None:
    """A CI job judges before anything is registered."""
    assert judge(ALL, facts(candidate_manifest_sha256=None), NOW).verdict is Verdict.PASS


PARTS: dict[str, Any] = {
    "registry": Missing("x"),
    "run": Missing("x"),
    "data_quality": Missing("x"),
    "evaluation": Missing("x"),
    "per_user": Missing("x"),
}


@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_the_evidence_can_be_missing(part: str) -> None:
    """Whichever is missing: ERROR with its reason, never PASS."""
    missing: dict[str, Any] = {part: Missing("the disk is gone")}
    decision = judge(ALL, replace(GOOD, **missing), NOW)
    assert decision.verdict is Verdict.ERROR
    assert "the disk is gone" in decision.summary


@given(st.sets(st.sampled_from(sorted(PARTS))))
def test_evidence_that_goes_missing_never_improves_the_verdict(gone: set[str]) -> None:
    """For any parts: taken from good evidence they make it ERROR, from bad evidence never PASS."""
    missing: dict[str, Any] = {part: PARTS[part] for part in gone}
    expected = Verdict.ERROR if gone else Verdict.PASS
    assert judge(ALL, replace(GOOD, **missing), NOW).verdict is expected
    assert judge(ALL, replace(evidence(better_by=-0.1), **missing), NOW).verdict is not Verdict.PASS


def test_the_order_of_checks_changes_nothing() -> None:
    """Same verdict for every order."""
    kinds = ("data_quality", "absolute", "non_inferiority")
    for found in (GOOD, evidence(better_by=-0.1), replace(GOOD, evaluation=Missing("x"))):
        verdicts = {
            judge(policy(*(check(kind) for kind in order)), found, NOW).verdict
            for order in itertools.permutations(kinds)
        }
        assert len(verdicts) == 1


def test_a_dry_run_reports_and_never_blocks() -> None:
    """Its FAIL stands in the results; the verdict is that of the others."""
    decision = judge(policy(check("data_quality"), check("absolute", at_least=0.99, dry_run=True)), GOOD, NOW)
    assert decision.verdict is Verdict.PASS
    assert by_check(decision)["absolute"].verdict is Verdict.FAIL


def test_a_time_without_a_zone_is_refused() -> None:
    """Ages can't be measured with it."""
    with pytest.raises(InvalidInputError, match="zone"):
        judge(ALL, GOOD, NOW.replace(tzinfo=None))


def decided(verdict: Verdict, *, settled: bool = False, dry_run: bool = False) -> Decision:
    """Return a decision with one result of this verdict beside those that pass."""
    base = judge(ALL, GOOD, NOW)
    result = CheckResult(check="x", kind="absolute", verdict=verdict, reason="y", settled=settled, dry_run=dry_run)
    overall = Verdict.PASS if dry_run else verdict
    return base.model_copy(update={"verdict": overall, "results": (*base.results, result)})


@pytest.mark.parametrize(
    ("verdict", "settled", "minutes", "expected"),
    [
        (Verdict.PASS, False, 0, "release"),
        (Verdict.PASS, True, 999, "release"),
        (Verdict.FAIL, False, 0, "reject"),
        (Verdict.FAIL, True, 0, "reject"),
        (Verdict.ERROR, False, 0, "wait"),
        (Verdict.ERROR, False, 4.9, "wait"),
        (Verdict.ERROR, False, 5, "reject"),
        (Verdict.ERROR, True, 0, "reject"),
        (Verdict.INCONCLUSIVE, False, 29.9, "wait"),
        (Verdict.INCONCLUSIVE, False, 30, "reject"),
        (Verdict.INCONCLUSIVE, True, 0, "reject"),
    ],
)
def test_what_to_do_about_a_decision(verdict: Verdict, settled: bool, minutes: float, expected: str) -> None:
    """PASS releases, FAIL rejects; in between it waits within the budget, but not for what can't change."""
    now = NOW + dt.timedelta(minutes=minutes)
    assert outcome(decided(verdict, settled=settled), started_at=NOW, now=now, budgets=BUDGETS) == expected


def test_a_settled_dry_run_does_not_end_the_wait() -> None:
    """Only what blocks can reject."""
    base = decided(Verdict.INCONCLUSIVE)
    dry = decided(Verdict.FAIL, settled=True, dry_run=True).results[-1]
    found = base.model_copy(update={"results": (*base.results, dry)})
    assert outcome(found, started_at=NOW, now=NOW, budgets=BUDGETS) == "wait"


def test_waiting_for_another_result_does_not_hide_a_settled_one() -> None:
    """A comparison that straddles its margin can't be mended by a file that is still to come: rejected at once."""
    candidate, current = values()
    at_the_margin = candidate - (candidate - current).mean() - 0.011
    found = replace(GOOD, per_user=per_user(at_the_margin, current), data_quality=Missing("not written yet"))
    decision = judge(policy(check("data_quality"), check("non_inferiority", margin=0.011)), found, NOW)
    assert decision.verdict is Verdict.ERROR
    assert outcome(decision, started_at=NOW, now=NOW, budgets=BUDGETS) == "reject"
    late = judge(policy(check("data_quality")), found, NOW)
    assert outcome(late, started_at=NOW, now=NOW, budgets=BUDGETS) == "wait"


def test_a_budget_of_nothing_never_waits() -> None:
    """Zero minutes reject at the first look."""
    none = Budgets(error_minutes=0, inconclusive_minutes=0)
    assert outcome(decided(Verdict.ERROR), started_at=NOW, now=NOW, budgets=none) == "reject"


def test_the_evaluation_must_be_of_the_run_that_is_current_now() -> None:
    """A release that came in between makes the comparison stale."""
    assert isinstance(GOOD.evaluation, Evaluation)
    decision = judge(ALL, facts(current_run_id="run-third", current_manifest_sha256=None), NOW)
    assert decision.verdict is Verdict.ERROR
    assert decision.against == "run-third"
    assert "evaluate again" in decision.summary
