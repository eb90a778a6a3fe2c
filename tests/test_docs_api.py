"""docs/reference/recommendation-api.md and metrics-api.md say what the API is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
from prometheus_client.metrics_core import Metric

from model_release.paths import ReleasePaths
from recommendation_api import events, problems
from recommendation_api.app import create_app
from recommendation_api.exposition import ServedState, exposition
from recommendation_api.metrics import Metrics
from recommendation_api.settings import PREFIX, TOKENS, Settings
from recommendation_api.shadow_families import PAIR
from tests.docs_pages import HEADING, REFERENCE, agree, codes, prose, section, table


def settings(tmp_path: Path) -> Settings:
    return Settings(paths=ReleasePaths(tmp_path))


def test_every_route_has_its_heading(tmp_path: Path) -> None:
    document = create_app(settings(tmp_path).model_copy(update={"events": True})).openapi()
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    titles = [title for _, title in HEADING.findall(prose(REFERENCE / "recommendation-api.md"))]
    written = {code for title in titles for code in codes(title) if code.split(" ")[0] in {"GET", "POST"}}
    agree(written, routes, "recommendation-api.md")


def test_every_setting_is_explained_with_its_default(tmp_path: Path) -> None:
    tokens = {variable + end for variable in TOKENS.values() for end in ("", "_FILE")}
    fixed = {"MODEL_RELEASE_HOME", *tokens}
    own = set(Settings.model_fields) - {"paths"} - {name + end for name in TOKENS for end in ("", "_file")}
    rows = {codes(row[0])[0]: row for row in table("recommendation-api.md", "Settings", "variable")}
    agree(set(rows), fixed | {PREFIX + name.upper() for name in own}, "recommendation-api.md, Settings")
    made = settings(tmp_path)
    for name in own - {"replica"}:
        value = getattr(made, name)
        expected = str(value).lower() if isinstance(value, bool) else str(value)
        assert codes(rows[PREFIX + name.upper()][1]) == [expected], f"default of {name}"


def test_every_problem_is_listed_with_its_status() -> None:
    http_itself = {(401, "unauthorized"), (403, "forbidden"), (404, "not found"), (405, "method not allowed")}
    http_itself |= {(400, "bad request"), (408, "request timeout"), (413, "body too large")}
    http_itself |= {(431, "request header fields too large")}
    elsewhere = {(500, "internal error"), (503, "not ready"), (503, problems.STORAGE_TITLE)}
    elsewhere |= {(503, "overloaded"), (503, events.NOT_TAKEN)}
    known = {(status, title) for _, status, title in problems.STATUSES} | http_itself | elsewhere
    rows = table("recommendation-api.md", "Errors", "status")
    listed = {f"{row[0]} {codes(row[1])[0]}" for row in rows}
    agree(listed, {f"{status} {title}" for status, title in known}, "recommendation-api.md, Errors")


def test_the_example_problems_are_real_ones() -> None:
    rows = table("recommendation-api.md", "Errors", "status")
    known = {(int(row[0]), codes(row[1])[0]) for row in rows}
    examples = re.findall(
        r"^    (\d{3}) (\{.*?\})$", section("recommendation-api.md", "Examples"), re.MULTILINE | re.DOTALL
    )
    assert len(examples) >= 10
    for status, text in examples:
        body = json.loads(text)
        assert set(body) == {"type", "title", "status", "detail"}, body
        assert int(status) == body["status"], body
        assert (body["status"], body["title"]) in known, body


def families() -> dict[str, Metric]:
    shown = exposition(Metrics().registry, list)
    shown.register(ServedState(list, expected=1, readable=lambda: True))
    return {metric.name: metric for metric in shown.collect()}


def series_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_every_metric_is_explained() -> None:
    rows = table("metrics-api.md", "Metrics of the recommendation API", "metric")
    agree({codes(row[0])[0] for row in rows}, {series_name(metric) for metric in families().values()}, "metrics-api.md")


def test_types_and_labels_of_the_metrics_are_true() -> None:
    rows = {codes(row[0])[0]: row for row in table("metrics-api.md", "Metrics of the recommendation API", "metric")}
    metrics = Metrics()
    labels = {part._name: part._labelnames for part in vars(metrics).values() if hasattr(part, "_labelnames")}
    labels |= {family.name: family._labelnames for family in metrics.shadow.collect()}  # type: ignore[attr-defined]  # a family made by hand has them
    labels["recommendation_shadow_distinct_items"] = (*PAIR, "variant")
    labels |= {"recommendation_trial_users": ("variant",), "recommendation_answers": ("endpoint", "variant")}
    labels |= {"recommendation_model_info": ("run_id", "slot"), "recommendation_workers": ("state",)}
    labels |= dict.fromkeys(("recommendation_model_generation", "recommendation_registry_readable"), ())
    for metric in families().values():
        row = rows[series_name(metric)]
        assert row[1] == metric.type, metric.name
        assert tuple(codes(row[2])) == tuple(labels[metric.name]), metric.name


def test_queries_name_metrics_that_exist() -> None:
    """No sentence or query of the page names a metric that is not there."""
    known = set(families()) | {series_name(metric) for metric in families().values()}
    mentioned = set(re.findall(r"recommendation_[a-z_]+", prose(REFERENCE / "metrics-api.md")))
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in mentioned}
    assert base <= known, sorted(base - known)


def test_queries_are_promql() -> None:
    """Each one can be pasted into Prometheus, and its rates are of counters."""
    rows = table("metrics-api.md", "Questions and queries", "question")
    assert len(rows) >= 12
    counters = {series_name(metric) for metric in families().values() if metric.type == "counter"}
    for question, cell in rows:
        (query,) = codes(cell)
        promql_parser.parse(query)
        for name in re.findall(r"rate\((\w+)", query):
            assert name in counters or name.endswith(("_bucket", "_sum", "_count")), f"{question}: {name}"
