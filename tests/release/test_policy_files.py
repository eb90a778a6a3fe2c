"""The policies that ship: their queries are PromQL about metrics that exist, and the examples are what they say."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest

from model_release.evidence import NumberQuery, RangeQuery, TrialFacts
from model_release.evidence.online import questions
from model_release.policy import (
    LatencyPolicy,
    OnlinePolicy,
    Policy,
    RatioPolicy,
    SequentialPolicy,
    load_policy,
    parse_policy,
)
from model_release.policy.online import TrialMode
from recommendation_api.metrics import LATENCY_BUCKETS
from tests.docs_pages import codes, table

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted(path for path in CONFIG.glob("release_policy*.yaml"))


def trial(mode: TrialMode) -> TrialFacts:
    now = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    return TrialFacts("run-new", "run-old", mode, 0.1, "release-1", now, None)


def online(policy: Policy) -> OnlinePolicy:
    assert policy.online is not None
    return policy.online


def queries(policy: Policy) -> Iterator[str]:
    """Yield everything that Prometheus is asked in both modes of trial, with its placeholders filled."""
    yield online(policy).replicas
    for mode in ("shadow", "canary"):
        for question in questions(online(policy), trial(mode)):
            match question:
                case RangeQuery():
                    yield question.selector
                case NumberQuery():
                    yield question.query


def test_there_are_three() -> None:
    """One to begin with, and one example each for more and for less traffic."""
    assert [path.name for path in FILES] == [
        "release_policy.production.yaml",
        "release_policy.staging.yaml",
        "release_policy.yaml",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_queries_are_promql_about_metrics_that_exist(path: Path) -> None:
    """Each one can be pasted into Prometheus; no metric is misspelt."""
    rows = table("metrics-api.md", "Metrics of the recommendation API", "metric")
    known = {codes(row[0])[0] for row in rows} | {"up"}
    asked = list(queries(load_policy(path)))
    assert len(asked) > 15
    for query in asked:
        promql_parser.parse(query)
        assert "$" not in query
        names = re.findall(r"\b(?:recommendation_\w+|up)\b(?=\{|\)|$)", query)
        assert names, query
        for name in names:
            assert name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known, f"{name} in {query}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_labels_are_those_of_the_metric(path: Path) -> None:
    """A label that a metric does not have selects nothing, or everything."""
    rows = table("metrics-api.md", "Metrics of the recommendation API", "metric")
    labels = {codes(row[0])[0]: set(codes(row[2])) for row in rows}
    for query in queries(load_policy(path)):
        for name, inside in re.findall(r"(recommendation_\w+)\{([^}]*)\}", query):
            base = name if name in labels else re.sub(r"_(bucket|sum|count)$", "", name)
            used = set(re.findall(r"(\w+)(?:=~|!=|!~|=)\"", inside))
            assert used <= labels[base], f"{sorted(used - labels[base])} in {query}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_each_mode_of_trial_can_be_rejected(path: Path, mode: TrialMode) -> None:
    """Several checks of the trial itself block in it."""
    blocking = [one for one in online(load_policy(path)).checks if one.blocks and mode in getattr(one, "modes", ())]
    assert len(blocking) >= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_times_are_bounds_of_the_histogram(path: Path) -> None:
    """At another time the histogram says nothing."""
    for one in online(load_policy(path)).checks:
        if isinstance(one, LatencyPolicy):
            assert one.slower_than is not None
            assert set(one.slower_than) <= set(LATENCY_BUCKETS)


def test_a_fresh_installation_needs_no_alertmanager() -> None:
    """The default asks only what the pipeline wrote, and, of a trial, Prometheus."""
    default = load_policy(CONFIG / "release_policy.yaml")
    kinds = {one.kind for one in (*default.checks, *online(default).checks)}
    assert kinds.isdisjoint({"alerts", "reconciliation"})


def test_production_is_stricter_and_staging_asks_for_less() -> None:
    """As the examples say."""
    default, production, staging = (load_policy(CONFIG / f"release_policy{end}.yaml") for end in ENDS)
    assert {one.kind for one in production.checks} >= {"alerts", "reconciliation"}
    usual = {one.name: one for one in online(default).checks}
    for one in online(production).checks:
        before = usual.get(one.name)
        if isinstance(one, SequentialPolicy) and isinstance(before, SequentialPolicy):
            assert one.confidence >= before.confidence
        if isinstance(one, (RatioPolicy, LatencyPolicy)) and isinstance(before, (RatioPolicy, LatencyPolicy)):
            assert (one.margin or 0) <= (before.margin or 0)
    for one in online(staging).checks:
        assert getattr(one, "minimum_requests", 0) <= getattr(usual[one.name], "minimum_requests", 0)
    assert len({one.sha256 for one in (default, production, staging)}) == 3


ENDS = ("", ".production", ".staging")


def test_what_is_commented_out_is_right() -> None:
    """The examples in comments make a valid policy when the `#` is taken away."""
    text = (CONFIG / "release_policy.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    started = False
    for number, line in enumerate(lines):
        bare = re.sub(r"^(\s*)# ?", r"\1", line)
        started = line.lstrip().startswith("#") and (started or bool(re.match(r"\s*# - name:", line)))
        if started:
            lines[number] = bare
    found = parse_policy("\n".join(lines), source="x")
    assert [one.kind for one in found.checks[-2:]] == ["alerts", "reconciliation"]
    assert online(found).checks[-1].kind == "alerts"
