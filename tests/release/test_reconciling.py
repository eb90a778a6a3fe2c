"""The rules of a reconciliation: promises, who served what, and what the whole day comes to."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from model_release.ledger import Event, LedgerEntry
from model_release.policy import Tolerance, parse_policy
from model_release.reconciling.document import Compared, Counted, LogFacts, Measured, RunFacts, TakenFacts
from model_release.reconciling.promise import measure, promise_of
from model_release.reconciling.serving import SETTLE, Named, compare_answers, compare_registry, states, stints
from model_release.reconciling.verdict import conclude, of_counts
from model_release.registry import Current, PastCurrent, Registry
from model_release.statistics import clustered_moments, contrast_interval, moments

DAY = dt.datetime(2026, 1, 12, tzinfo=dt.UTC)
END = DAY + dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
TOLERANCE = Tolerance(minimum_users=10)


def change(generation: int, run_id: str | None, hours: float, mode: str = "primary", **fields: Any) -> LedgerEntry:
    event = fields.pop("event", Event.COMMITTED)
    return LedgerEntry.model_validate(
        {
            "at": DAY + hours * HOUR, "event": event, "release_id": f"r{generation}", "by": "test",
            "run_id": run_id, "generation": generation, "mode": mode, **fields,
        }
    )  # fmt: skip


def named(run_id: str | None, generation: int, first: float, last: float, variant: str = "current") -> Named:
    return Named("api-1", run_id, variant, generation, 9, DAY + first * HOUR, DAY + last * HOUR)


LEDGER = [
    change(1, "a", -30),
    change(3, "b", 2, "canary"),
    change(4, "b", 4, "canary", event=Event.TRIAL_ENDED),
    change(6, "b", 10),
    change(7, "a", 20, event=Event.PUT_BACK),
]

# Statistics


def test_the_contrast_of_two_means_is_welch_s() -> None:
    """With factor 1, against scipy's test; bounds at a confidence are where its p-value is 1 - confidence."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(1.0, 1.0, 40), rng.normal(1.2, 3.0, 25)
    found = contrast_interval(moments(first), moments(second), 1.0, 0.95)
    other = ttest_ind(first, second, equal_var=False).confidence_interval(0.90)
    assert (found.lower, found.upper) == pytest.approx((other.low, other.high), abs=1e-12)
    scaled = contrast_interval(moments(first), moments(second), 0.8, 0.95)
    again = contrast_interval(moments(first), moments(0.8 * second), 1.0, 0.95)
    assert (scaled.lower, scaled.upper, scaled.n) == pytest.approx((again.lower, again.upper, again.n))


def test_clusters_of_one_are_a_usual_mean_and_others_are_not() -> None:
    rng = np.random.default_rng(2)
    values = rng.random(50)
    assert clustered_moments(values, np.ones(50)) == pytest.approx(moments(values))
    twice = clustered_moments(2 * values, np.full(50, 2.0))
    assert twice == pytest.approx(moments(values))  # a user's second day that repeats the first tells nothing new
    for bad in (values[:1], np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match=r"clusters have no interval|not finite"):
            clustered_moments(bad, np.ones(len(bad)))


# Promises


def test_a_promise_is_broken_only_when_that_is_certain() -> None:
    """By the bound of mean - (1 - drop) * promise; the promise has an error too."""
    values = np.array([0.0, 1.0] * 50)
    promise = (0.9, 0.05, 200)
    found = measure(values, promise, TOLERANCE)
    assert (found.mean, found.promised) == (0.5, 0.9)
    assert found.floor == pytest.approx(0.72)
    assert found.result == "broken"
    assert found.lower is not None
    error = values.std(ddof=1) / 10
    assert found.lower == pytest.approx(0.5 - student.ppf(0.95, 99) * error)
    assert measure(values, (0.7, 0.05, 200), TOLERANCE).result == "unclear"
    assert measure(values, (0.4, 0.02, 200), TOLERANCE).result == "kept"
    assert measure(values, (0.78, 0.01, 200), TOLERANCE).result == "broken"
    assert measure(values, (0.78, 0.40, 200), TOLERANCE).result == "unclear"


def test_few_users_and_no_promise_are_no_result() -> None:
    promise = (0.5, 0.01, 100)
    assert measure(np.ones(9), promise, TOLERANCE).result == "too_few_users"
    assert measure(np.ones(0), promise, TOLERANCE).mean is None
    found = measure(np.ones(10), None, TOLERANCE, why_not="of another week")
    assert (found.result, found.reason, found.promised) == ("not_comparable", "of another week", None)


@pytest.mark.parametrize(
    "daily",
    [{}, {"metrics": {"m": 0.5}}, {"metrics": {"m": 0.5}, "standard_errors": {}, "users": 9},
     {"metrics": {"m": 0.5}, "standard_errors": {"m": 0.1}, "users": 1}],
)  # fmt: skip
def test_half_a_promise_is_none(daily: dict[str, Any]) -> None:
    assert promise_of(daily, "m") is None


def test_the_policy_s_strictest_check_says_how_far_things_may_lie_apart() -> None:
    """That with the smallest drop, whole; the defaults without one."""

    def policy(*checks: str) -> Tolerance:
        listed = "\n".join(f"  - {{{one}}}" for one in checks)
        floor = "  - {name: f, kind: absolute, metric: m, at_least: 0, minimum_users: 2}"
        text = f"schema_version: 1\nname: x\nchecks:\n{floor}\n{listed}\n"
        return parse_policy(text, source="test").tolerance

    assert policy() == Tolerance()
    one = "name: a, kind: reconciliation, maximum_age_hours: 36, maximum_relative_drop: 0.3, minimum_users: 7"
    two = "name: b, kind: reconciliation, maximum_age_hours: 36, maximum_relative_drop: 0.1"
    assert policy(one) == Tolerance(maximum_relative_drop=0.3, minimum_users=7)
    assert policy(one, two) == Tolerance(maximum_relative_drop=0.1)


# Who served what


def test_the_ledger_s_states_follow_from_its_changes() -> None:
    """A trial leaves the current run; a commit and its end leave no candidate."""
    found = [(state.generation, state.current, state.candidate) for state in states(LEDGER)]
    assert found == [(1, "a", None), (3, "a", "b"), (4, "a", None), (6, "b", None), (7, "a", None)]
    cut = [(one.run_id, one.since, one.until) for one in stints(states(LEDGER), DAY, END)]
    ten, twenty = DAY + 10 * HOUR, DAY + 20 * HOUR
    assert cut == [("a", DAY, ten), ("b", ten, twenty), ("a", twenty, None)]


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        (named("a", 1, 0, 2), None),
        (named("a", 2, 0, 2), None),  # a generation of the latch changes nothing
        (named("b", 3, 2, 4, "candidate"), None),
        (named("a", 3, 2, 9.9), None),  # the end of the trial is not the end of the run
        (named("b", 3, 2, 4, "degraded"), None),
        (named(None, 1, 0, 24, "degraded"), None),
        (named("b", 6, 10, 20.05), None),  # within the time to settle
        (named("b", 3, 2, 4), "in generation 3, the ledger has a there"),
        (named("a", 3, 2, 4, "candidate"), "in generation 3, the ledger has b there"),
        (named("b", 4, 4, 5, "candidate"), "the ledger has none there"),
        (named("a", 0, 0, 1), "older than all that the ledger knows"),
        (named("a", 1, 0, 11), "until 11:00:00Z, the ledger only until 2026-01-12 10:00:00Z"),
        (named("b", 3, 2, 5, "candidate"), "until 05:00:00Z, the ledger only until 2026-01-12 04:00:00Z"),
        (named("b", 6, 9, 11), "from 09:00:00Z on, the ledger only since 2026-01-12 10:00:00Z"),
        (named("c", 6, 11, 12), "9 answers of api-1 name c as current in generation 6"),
    ],
)
def test_answers_name_the_run_that_the_ledger_has(group: Named, problem: str | None) -> None:
    found = compare_answers(LEDGER, [group], DAY, END)
    assert found.status == ("differs" if problem else "agrees"), found.problems
    assert (problem or "") in "".join(found.problems)
    assert dt.timedelta(minutes=5) == SETTLE


def test_without_a_ledger_nobody_knows_who_served() -> None:
    assert compare_answers([], [named("a", 1, 0, 1)], DAY, END).status == "missing"
    assert compare_registry([], Registry(), DAY, END).status == "missing"


def registry(**changes: Any) -> Registry:
    past = (
        PastCurrent(
            run_id="b", release_id="r6", since=DAY + 10 * HOUR, until=DAY + 20 * HOUR, generation=6, until_generation=7,
            ended="rolled_back",
        ),
        PastCurrent(
            run_id="a", release_id="r1", since=DAY - 30 * HOUR, until=DAY + 10 * HOUR, generation=1, until_generation=6,
            ended="superseded",
        ),
        PastCurrent(
            run_id="z", release_id="r0", since=DAY - 90 * HOUR, until=DAY - 30 * HOUR, generation=0 + 1,
            until_generation=2, ended="superseded",
        ),
    )[: changes.pop("kept", 2)]  # fmt: skip
    current = Current(run_id=changes.pop("run_id", "a"), release_id="r7", since=DAY + 20 * HOUR, generation=7)
    return Registry(generation=7, current=current, history=past)


def test_ledger_and_registry_have_the_same_runs() -> None:
    assert compare_registry(LEDGER, registry(), DAY, END).status == "agrees"
    other = compare_registry(LEDGER, registry(run_id="c"), DAY, END)
    assert other.problems == ("generation 7: the ledger has a, the registry c",)
    lost = compare_registry(LEDGER, registry(kept=1), DAY, END)
    assert lost.problems == ("generation 1: the ledger has a, the registry nothing",)
    short = compare_registry(LEDGER[:-1], registry(), DAY, END)
    assert short.problems == ("generation 7: the ledger has nothing, the registry a",)
    before = compare_registry(LEDGER, registry(), DAY - 24 * HOUR, DAY)
    assert before.status == "agrees"


# The whole


def log(**changes: Any) -> LogFacts:
    usual: dict[str, Any] = {
        "files": 1, "replicas": ("api-1",), "gaps": (), "answers": 1000, "outcomes": 0, "unreadable_files": 0,
        "unreadable_lines": 0,
    }  # fmt: skip
    return LogFacts.model_validate({**usual, **changes})


TAKEN = TakenFacts(used=("interactions",), interactions=10, events=None, users=10, newest_interaction=END)


def run(result: str, **changes: Any) -> RunFacts:
    measured = dict.fromkeys(Measured.model_fields) | {"users": 5, "result": result, "reason": "why"}
    usual: dict[str, Any] = {
        "run_id": "a", "variant": "current", "answers": 9, "similar_answers": 0, "users": 9, "first_at": DAY,
        "last_at": DAY, "followed_users": 5, "items_shown": 3, "catalogue_items": 4, "coverage": 0.75,
        "promised_coverage": None, "metrics": {"m": measured}, "not_comparable": (),
    }  # fmt: skip
    return RunFacts.model_validate({**usual, **changes})


def status(
    runs: tuple[RunFacts, ...] = (), parts: tuple[Compared, ...] = (), missing: tuple[str, ...] = (), **changes: Any
) -> tuple[str, str]:
    compared = [("part", one) for one in parts]
    found, problems = conclude(log(**changes), TAKEN, runs, compared, tolerance=TOLERANCE, missing=missing)
    assert (found == "agrees") == (not problems)
    return found, "; ".join(problems)


def test_what_differs_counts_before_what_is_missing_and_both_are_told() -> None:
    broken, differs = run("broken"), Compared(status="differs", problems=("x is y",))
    lost = Compared(status="missing", reason="it is away")
    assert status((run("kept"),)) == ("agrees", "")
    assert status((run("unclear"),)) == ("agrees", "")
    assert status((run("kept"),), (Compared(status="not_asked", reason="nobody asked"),)) == ("agrees", "")
    assert status((broken,)) == ("differs", "a (current): m why")
    assert status((run("kept"),), (differs,)) == ("differs", "part: x is y")
    assert status((run("kept"),), (lost,)) == ("missing", "part: it is away")
    assert status((run("kept"),), missing=("no events",)) == ("missing", "no events")
    found, problems = status((broken,), (differs, lost), ("no events",))
    assert (found, problems.count(";")) == ("differs", 3)


def test_a_small_trial_is_not_judged_and_does_not_stop_the_day() -> None:
    """A run that few users had leaves the verdict to the others; if none had enough, nothing is known."""
    assert status((run("kept"), run("too_few_users", variant="candidate")))[0] == "agrees"
    found, problems = status((run("too_few_users"),))
    assert (found, "too few users" in problems) == ("missing", True)
    found, problems = status((run("kept"), run("not_comparable", not_comparable=("no promise",))))
    assert (found, problems) == ("missing", "a (current): no promise")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"files": 0, "answers": 0}, "there is no exposure log of that day"),
        ({"answers": 0}, "has no answer of that day"),
        ({"gaps": ("replica x",)}, "log gap: replica x"),
        ({"unreadable_files": 1}, "1 files of the exposure log can't be read"),
        ({"unreadable_lines": 21}, "21 of 1,021 lines"),
    ],
)
def test_a_log_with_holes_is_missing(changes: dict[str, Any], told: str) -> None:
    found, problems = status((run("kept"),), **changes)
    assert (found, told in problems) == ("missing", True)
    assert status((run("kept"),), unreadable_lines=20)[0] == "agrees"


@pytest.mark.parametrize(("counted", "answer"), [(1000.0, "agrees"), (1019.0, "agrees"), (981.0, "agrees"),
                                                 (1021.0, "differs"), (979.0, "differs"), (0.0, "differs")])  # fmt: skip
def test_the_log_has_the_answers_that_were_counted(counted: float, answer: str) -> None:
    """2 % may be lost, or counted too few: Prometheus estimates."""
    found = of_counts(log(), Counted(status="agrees", answers=counted), Tolerance())
    assert found.status == answer
    assert math.isclose(found.answers or 0.0, counted)


def test_no_count_is_no_agreement() -> None:
    lost = Counted(status="missing", reason="away")
    assert of_counts(log(), lost, TOLERANCE) == lost


def test_problems_are_cut_to_what_the_gate_reads() -> None:
    many = Compared(status="differs", problems=tuple("x" * 2000 for _ in range(1500)))
    _, problems = conclude(log(), TAKEN, (run("kept"),), [("p", many)], tolerance=TOLERANCE, missing=())
    assert (len(problems), {len(one) for one in problems}) == (1000, {1000})
