"""docs/reference/alerts.md says what the rules and routes are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from monitoring.grafana.generate import dashboards
from tests.alerts.rules import MONITORING, PROMETHEUS, alerts, read, recorded, rules, selectors, unit_tests
from tests.docs_pages import DOCS, PROJECT, agree, codes, names, pages, prose, table

BRIDGE = ("model_release_", "alert_bridge_")
BRIDGE_PAGE = DOCS / "reference" / "alert-bridge.md"


def listed() -> list[tuple[str, str, str]]:
    rows = table("alerts.md", "Alerts", "alert")
    return [(codes(row[0])[0], row[1], row[2]) for row in rows]


def test_every_alert_is_listed_with_its_severity_and_duration() -> None:
    kinds = {(rule["alert"], rule["labels"]["severity"], rule.get("for", "0s")) for rule in alerts()}
    assert len(listed()) == len(set(listed()))
    agree({" ".join(row) for row in listed()}, {" ".join(kind) for kind in kinds}, "alerts.md, Alerts")


def test_the_labels_in_the_table_are_those_that_alerts_fire_with() -> None:
    """As the unit tests expect them, which promtool has compared with the rules."""
    fired: dict[tuple[str, str], set[str]] = {}
    for case in unit_tests():
        for one in case.get("alert_rule_test", []):
            for alert in one.get("exp_alerts", []):
                labels = dict(alert["exp_labels"])
                kind = (one["alertname"], labels.pop("severity"))
                assert labels.pop("team") == "recommendation"
                fired.setdefault(kind, set()).update(labels)
    for row in table("alerts.md", "Alerts", "alert"):
        found = fired[(codes(row[0])[0], row[1])]
        if codes(row[0])[0] == "AirflowDown":
            found = found - {"job"}  # of the absent case alone
        assert set(codes(row[3])) == found, row[0]


def test_runbooks_in_the_table_are_those_of_the_rules() -> None:
    shown = {
        (codes(row[0])[0], (DOCS / "reference" / re.findall(r"\(([^)]+)\)", row[0])[0]).resolve())
        for row in table("alerts.md", "Alerts", "alert")
    }
    assert shown == {(rule["alert"], PROJECT / rule["annotations"]["runbook"]) for rule in alerts()}


def test_limits_in_the_table_are_those_of_the_rules() -> None:
    """The numbers of the sentence stand in the expression, in its unit."""
    text = {(codes(row[0])[0], row[1]): row[4] for row in table("alerts.md", "Alerts", "alert")}
    expressions = {(rule["alert"], rule["labels"]["severity"]): rule["expr"] for rule in alerts()}
    for kind, sentence in text.items():
        for number in re.findall(r"(\d+) %", sentence):
            assert f"> {int(number) / 100:g}" in expressions[kind], kind
        for number, unit in re.findall(r"(\d+) (hours|days) old", sentence):
            assert f"{number} * {3600 if unit == 'hours' else 86400}" in expressions[kind], kind
        if "at least 10" in sentence:
            assert ">= 10" in expressions[kind], kind


def test_every_recorded_series_is_explained() -> None:
    agree(names("alerts.md", "How a share is charged to a run", "recorded series"), recorded(), "alerts.md, recorded")


def test_every_job_is_explained() -> None:
    jobs = {job["job_name"] for job in read(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    agree(names("alerts.md", "Which series come from where", "job"), jobs, "alerts.md, jobs")


def used_of_the_bridge() -> set[str]:
    shown = [target["expr"] for one in dashboards() for panel in one["panels"] for target in panel["targets"]]
    shown += [note["expr"] for one in dashboards() for note in one["annotations"]["list"]]
    expressions = [rule["expr"] for rule in rules()] + [text.replace("$__rate_interval", "1m") for text in shown]
    return {name for text in expressions for name, _ in selectors(text) if name.startswith(BRIDGE)}


def bridge_rows() -> dict[str, set[str]]:
    rows = table("alerts.md", "Which series come from where", "series of the bridge")
    return {codes(row[0])[0]: set(codes(row[1])) for row in rows}


def test_every_series_that_is_taken_from_the_bridge_is_listed() -> None:
    agree(set(bridge_rows()), used_of_the_bridge(), "alerts.md, series of the bridge")


def test_the_bridge_documents_what_is_taken_from_it() -> None:
    """Its own page has them, with the same labels; the page is there as soon as the bridge is."""
    assert BRIDGE_PAGE.exists() == (PROJECT / "alert_bridge").is_dir()
    if not BRIDGE_PAGE.exists():
        return
    rows: dict[str, set[str]] = {}
    for row in table("alert-bridge.md", "Metrics", "metric"):
        rows[codes(row[0])[0]] = set(codes(row[2]))
    for row in table("alert-bridge.md", "State of releases", "metric"):
        rows[codes(row[0])[0]] = set(codes(row[1]))
    assert {name: rows.get(name) for name in bridge_rows()} == bridge_rows()


def test_labels_that_rules_ask_of_the_bridge_are_listed() -> None:
    for rule in rules():
        for name, labels in selectors(rule["expr"]):
            if name.startswith(BRIDGE):
                assert set(labels) <= bridge_rows()[name], rule


def test_every_inhibition_is_listed() -> None:
    config = read(MONITORING / "alertmanager" / "alertmanager.yml")
    rows = table("alerts.md", "Who is told, and what is not said twice", "while this fires")
    assert len(rows) == len(config["inhibit_rules"])
    for row, rule in zip(rows, config["inhibit_rules"], strict=True):
        written = " ".join(row)
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            name, values = re.fullmatch(r'(\w+)[!=]=?~?"(.*)"', matcher).groups()  # type: ignore[union-attr]
            if name == "alertname":
                assert set(values.split("|")) <= set(codes(written)), rule
        assert set(rule.get("equal", [])) <= set(codes(written)), rule


def test_commands_in_the_runbooks_exist() -> None:
    """DAGs that are triggered have a file, and ledger events that are searched for have a name."""
    from model_release.ledger import Event

    known = {path.stem for path in (PROJECT / "dags").glob("*.py")} | {"recommendation_reconciliation"}
    for page in (DOCS / "runbooks").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for dag in re.findall(r"airflow dags (?:trigger|list-runs) (\w+)", text):
            assert dag in known, f"{page.name}: {dag}"
        for found in re.findall(r'\\?"\(([a-z_|]+)\)\\?"', text):
            assert set(found.split("|")) <= {event.value for event in Event}, page.name


def test_queries_in_the_runbooks_are_promql() -> None:
    found = [
        (page.name, query)
        for page in (DOCS / "runbooks").glob("*.md")
        for query in re.findall(r"--data-urlencode 'query=(.+)'$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(found) >= 25
    for page, query in found:
        assert list(selectors(query)), f"{page}: {query}"


def test_the_bridges_secret_is_in_no_file() -> None:
    for path in MONITORING.rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        yaml.safe_load(text)
        assert not re.search(r"(?i)(password|credentials|bearer_token):\s*\S", text), path


def test_the_pages_of_monitoring_are_found() -> None:
    reached: set[Path] = {page for page in pages() if "alerts.md" in prose(page)}
    assert DOCS / "README.md" in reached
