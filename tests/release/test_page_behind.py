"""What stands behind a release follows from decisions, evaluations, runs and reconciled days, and from nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.errors import ConfigurationError
from model_release.identifiers import task_of
from model_release.page.days import MOST_DAYS, days
from model_release.page.graph import GRAPHS, graph_link
from model_release.page.policy_used import policy_used
from model_release.page.quality_history import quality_history
from model_release.page.ranking import kendall, lists_differ, shadow_checks
from model_release.page.slices import SliceMeans, slices
from model_release.policy import Tolerance, parse_policy
from model_release.reconciling.document import (
    Compared,
    Counted,
    Document,
    LogFacts,
    Measured,
    RunFacts,
    Serving,
    TakenFacts,
)
from model_release.verdict import CheckResult, Decision, worst
from tests.fake_replicas import NOW

POLICY = """
schema_version: 1
name: shop
checks:
  - {name: data-quality, kind: data_quality, minimum_score: 90, tables: [interactions]}
  - {name: ndcg-not-worse, kind: non_inferiority, metric: ndcg_at_10, relative_margin: 0.03, minimum_users: 200}
"""


def result(check: str, kind: str, **fields: Any) -> CheckResult:
    return CheckResult.model_validate({"check": check, "kind": kind, "verdict": "pass", "reason": "", **fields})


def decision(*results: CheckResult, at: dt.datetime = NOW, **fields: Any) -> Decision:
    given: dict[str, Any] = {
        "verdict": worst(one.blocking for one in results), "run_id": "b", "against": "a", "no_baseline": False,
        "release_id": "p:1", "generation": 1, "decided_at": at, "policy_name": "shop", "policy_sha256": "0" * 64,
        "code_version": "1", "results": results, "summary": "", **fields,
    }  # fmt: skip
    return Decision.model_validate(given)


def compared(subject: str, **fields: Any) -> CheckResult:
    given = {
        "value": 0.01,
        "limit": -0.02,
        "direction": "at_least",
        "interval": (0.005, 0.015),
        "samples": 500,
        "minimum_samples": 100,
    }
    return result("not-worse", "non_inferiority", subject=subject, **{**given, **fields})


MEANS = {
    "all": SliceMeans(
        users=900, candidate={"ndcg_at_10": 0.3, "map_at_10": 0.2}, current={"ndcg_at_10": 0.29, "map_at_10": 0.2}
    ),
    "low users": SliceMeans(users=500, candidate={"ndcg_at_10": 0.2}, current={"ndcg_at_10": 0.19}),
    "new items": SliceMeans(users=40, candidate={"ndcg_at_10": None}, current=None),
}


class TestSlices:
    def test_a_slice_has_its_means_and_the_gates_interval(self) -> None:
        found = slices(decision(compared("ndcg_at_10 (low users)")), MEANS)
        row = next(one for one in found.rows if one.label == "low users")
        assert (row.users, row.current, row.candidate, row.low, row.high, row.verdict) == (
            500,
            0.19,
            0.2,
            0.005,
            0.015,
            "pass",
        )
        assert row.too_small is False
        assert row.place is not None

    def test_a_slice_with_too_few_users_says_so(self) -> None:
        few = compared(
            "ndcg_at_10 (low users)",
            samples=71,
            verdict="inconclusive",
            value=None,
            interval=None,
            limit=None,
            direction=None,
        )
        (row,) = [one for one in slices(decision(few), MEANS).rows if one.verdict is not None]
        assert (row.label, row.too_small, row.users, row.minimum_users, row.verdict) == (
            "low users",
            True,
            71,
            100,
            "inconclusive",
        )
        assert slices(decision(compared("ndcg_at_10", samples=100)), {}).rows[0].too_small is False

    def test_what_the_gate_did_not_look_at_has_no_interval(self) -> None:
        rows = {(one.label, one.metric): one for one in slices(decision(compared("ndcg_at_10")), MEANS).rows}
        other = rows["all", "map_at_10"]
        assert (other.verdict, other.low, other.difference) == (None, None, 0.0)
        assert rows["new items", "ndcg_at_10"].difference is None
        assert rows["all", "ndcg_at_10"].verdict == "pass"
        assert len(rows) == 4

    def test_everybody_first_and_the_metric_that_was_looked_at_most_first(self) -> None:
        found = slices(
            decision(compared("map_at_10"), compared("ndcg_at_10 (low users)"), compared("ndcg_at_10")), MEANS
        )
        assert found.metrics == ("ndcg_at_10", "map_at_10")
        assert found.rows[0].label == "all"

    def test_only_comparisons_are_slices(self) -> None:
        assert slices(decision(result("floor", "absolute", subject="ndcg_at_10")), {}).rows == ()


class TestQualityHistory:
    def test_each_table_is_a_line_from_old_to_new_with_what_was_wanted(self) -> None:
        def scored(score: float, wanted: float, at: dt.datetime) -> Decision:
            one = result("q", "data_quality", subject="items", value=score, limit=wanted, direction="at_least")
            return decision(one, at=at)

        (line,) = quality_history([scored(91, 80, NOW), scored(97, 90, NOW - dt.timedelta(days=1))]).tables
        assert (line.table, [(one.score, one.wanted) for one in line.points]) == ("items", [(97, 90), (91, 80)])

    def test_the_strictest_check_that_blocks_counts(self) -> None:
        dry = result(
            "dry",
            "data_quality",
            subject="items",
            value=91,
            limit=99,
            direction="at_least",
            dry_run=True,
            verdict="fail",
        )
        lax, strict = (
            result(str(wanted), "data_quality", subject="items", value=91, limit=wanted, direction="at_least")
            for wanted in (50, 90)
        )
        (line,) = quality_history([decision(strict, dry, lax)]).tables
        assert line.points[0].wanted == 90

    def test_no_score_is_not_made_one(self) -> None:
        (line,) = quality_history([decision(result("q", "data_quality", subject="items", verdict="error"))]).tables
        assert (line.points[0].score, line.points[0].verdict) == (None, "error")
        assert quality_history([decision(result("q", "data_quality", verdict="error"))]).tables == ()


class TestRanking:
    def test_lists_of_the_same_users_are_compared_the_most_different_first(self) -> None:
        lists = {"same": (["a", "b"], ["a", "b"]), "other": (["a", "b"], ["c", "d"]), "none": ([], [])}
        found = lists_differ(lists, (["a", "b", "c"], ["c", "b", "a"]), 10)
        assert found is not None
        assert [(one.user_id, one.overlap) for one in found.users] == [("other", 0.0), ("same", 1.0)]
        assert (found.overlap, found.popular_shared, found.popular_tau) == (0.5, 3, -1.0)
        assert found.users[1].rbo == pytest.approx(1.0)

    def test_lists_are_cut(self) -> None:
        found = lists_differ({"u": (["a", "x"], ["a", "y"])}, ([], []), 1)
        assert found is not None
        assert (found.overlap, found.popular_tau) == (1.0, None)
        assert lists_differ({"u": ([], [])}, ([], []), 5) is None

    @pytest.mark.parametrize(
        ("one", "other", "tau"), [("abcd", "abcd", 1.0), ("abcd", "abdc", 2 / 3), ("ab", "bxa", -1.0), ("a", "a", None)]
    )
    def test_kendalls_tau_is_of_what_both_name(self, one: str, other: str, tau: float | None) -> None:
        assert kendall(one, other) == (None if tau is None else pytest.approx(tau))

    def test_a_shadow_is_known_by_what_was_asked(self) -> None:
        asked = result("overlap", "ratio", details={"queries": ["recommendation_shadow_overlap_sum{}"]})
        found = shadow_checks(
            decision(asked, result("errors", "ratio", details={"queries": ["recommendation_answers_total"]}))
        )
        assert [one.check for one in found] == ["overlap"]
        assert shadow_checks(None) == ()


def document(day: int, *runs: tuple[str, float]) -> Document:
    start = dt.datetime(2026, 1, day, tzinfo=dt.UTC)
    end = start + dt.timedelta(days=1)

    def facts(run_id: str, mean: float) -> RunFacts:
        measured = Measured(
            users=9, mean=mean, lower=mean - 0.1, upper=mean + 0.1, standard_error=0.05, promised=0.5, promised_standard_error=0.1,
            floor=0.4, result="kept", reason="",
        )  # fmt: skip
        return RunFacts(
            run_id=run_id, variant="current", answers=1, similar_answers=0, users=1, first_at=start, last_at=end, followed_users=1,
            items_shown=1, catalogue_items=1, coverage=None, promised_coverage=None, metrics={"recall_at_10": measured}, not_comparable=(),
        )  # fmt: skip

    agrees = Compared(status="agrees")
    return Document(
        schema_version=1, date=start.date(), written_at=end, status="agrees", problems=(), complete=True, zone="Asia/Shanghai",
        window_start=start, window_end=end, tolerance=Tolerance(),
        log=LogFacts(files=1, replicas=(), gaps=(), answers=1, outcomes=0, unreadable_files=0, unreadable_lines=0),
        taken=TakenFacts(used=(), interactions=None, events=None, users=0, newest_interaction=None),
        runs=tuple(facts(*run) for run in runs), serving=Serving(status="agrees"), registry=agrees, replicas=agrees,
        metrics=Counted(status="agrees"),
    )  # fmt: skip


class TestDays:
    def test_a_day_that_nobody_looked_at_is_a_gap(self) -> None:
        found = days([document(5, ("b", 0.6)), document(3, ("a", 0.5)), document(2, ("a", 0.4))])
        assert found is not None
        assert (found.first.day, found.last.day, [day.day for day in found.missing]) == (2, 5, [4])
        assert [(one.date.day, one.mean) for one in found.strips[0].points] == [(2, 0.4), (3, 0.5), (5, 0.6)]

    def test_two_runs_of_a_day_are_two_points(self) -> None:
        found = days([document(2, ("a", 0.4), ("b", 0.6))])
        assert found is not None
        assert [one.run_id for one in found.strips[0].points] == ["a", "b"]

    def test_one_run_alone(self) -> None:
        found = days(
            [document(2, ("a", 0.4), ("b", 0.6)), document(3, ("b", 0.5)), document(4, ("c", 0.5))], run_id="b"
        )
        assert found is not None
        assert (found.first.day, found.last.day, [one.run_id for one in found.strips[0].points]) == (2, 3, ["b", "b"])
        assert days([document(2, ("a", 0.4))], run_id="z") is None

    def test_no_more_than_the_last_days(self) -> None:
        found = days([document(day, ("a", 0.5)) for day in range(1, 29)])
        assert found is not None
        assert len(found.strips[0].points) == MOST_DAYS


class TestPolicyUsed:
    def test_the_decisions_own_numbers_beside_what_is_in_force(self) -> None:
        now = parse_policy(POLICY, source="test")
        made = decision(
            result("data-quality", "data_quality", subject="items", value=91, limit=80, direction="at_least"),
            result("data-quality", "data_quality", subject="interactions", value=91, limit=80, direction="at_least"),
            result(
                "gone",
                "absolute",
                value=1,
                limit=0.5,
                direction="at_least",
                samples=900,
                minimum_samples=200,
                severity="warning",
            ),
            result("latch", "latch"),
        )
        found = policy_used(made, now)
        assert found.same is False
        told = {one.check: one for one in found.checks}
        assert (told["data-quality"].wanted, told["data-quality"].now) == (
            ("≥ 80",),
            'minimum_score: 90.0; tables: ["interactions"]',
        )
        assert (told["gone"].now, told["gone"].least, told["gone"].blocks) == (None, 200, False)
        assert (told["latch"].always, told["latch"].wanted) == (True, ())
        assert (told["ndcg-not-worse"].used, told["ndcg-not-worse"].blocks) == (False, True)

    def test_the_same_hash_is_the_same_policy(self) -> None:
        now = parse_policy(POLICY, source="test")
        one = result("data-quality", "data_quality", value=91, limit=90, direction="at_least")
        assert policy_used(decision(one, policy_sha256=now.sha256), now).same is True

    def test_on_trial_the_checks_of_the_trial_are_compared(self) -> None:
        now = parse_policy(POLICY, source="test")
        one = result("errors", "ratio", details={"confidence": 0.99})
        (found,) = policy_used(decision(one, stage="online"), now).checks
        assert (found.check, found.confidence, found.now) == ("errors", 0.99, None)


class TestGraph:
    def test_every_query_is_drawn_over_the_time_of_the_release(self) -> None:
        link = graph_link("https://prometheus.example/base/", NOW, NOW + dt.timedelta(hours=1))
        assert link.startswith("https://prometheus.example/base/graph?")
        assert link.count(".expr=") == len(GRAPHS)
        assert "range_input=6300s" in link
        assert " " not in link

    @pytest.mark.parametrize(
        "base", ["javascript:alert(1)", "prometheus:9090", "http://me:secret@host", "//host", "ftp://host", ""]
    )
    def test_what_a_browser_must_not_open_is_no_link(self, base: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            graph_link(base, NOW, NOW)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("by", "task"),
    [
        ("airflow:p/release.verify (ann)", ("p", "release.verify")), ("airflow:p/x", ("p", "x")), ("airflow:p", None),
        ("api:ann", None), ("airflow:/x", None), ("airflow:p (a/b)", None),
    ],
)  # fmt: skip
def test_a_task_is_known_by_who_wrote(by: str, task: tuple[str, str] | None) -> None:
    assert task_of(by) == task
