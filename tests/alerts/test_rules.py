"""The rules are valid, each alert is explained and tested, and only what should revert a run can."""

from __future__ import annotations

import re
from typing import Any

import pytest

from model_release.policy import load_policy
from tests import monitoring
from tests.alerts.rules import (
    PROMETHEUS,
    RULE_FILES,
    TEST_FILES,
    alerts,
    read,
    recorded,
    rules,
    run,
    selectors,
    unit_tests,
)
from tests.docs_pages import DOCS, PROJECT, prose

REVERTING = {"RecommendationErrors", "RecommendationDegraded", "RecommendationEmpty", "RecommendationSlow"}
NAMES = sorted({rule["alert"] for rule in alerts()})
HEADINGS = ["What it means", "What happens by itself", "Look", "Act", "Over when"]


@pytest.fixture(autouse=True)
def _tools() -> None:
    monitoring.need("promtool")


def expectations(name: str) -> list[dict[str, Any]]:
    return [one for case in unit_tests() for one in case.get("alert_rule_test", []) if one["alertname"] == name]


def test_prometheus_accepts_configuration_and_rules() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_the_unit_tests_of_the_rules_pass(path: Any) -> None:
    run("promtool", "test", "rules", path)


def test_no_unit_test_is_outside_and_no_rule_file_is_untested() -> None:
    tested = {(path.parent / name).resolve() for path in TEST_FILES for name in read(path)["rule_files"]}
    assert tested == set(RULE_FILES)
    names = [case["name"] for case in unit_tests()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_fires_in_a_unit_test_and_is_quiet_in_another(name: str) -> None:
    found = expectations(name)
    assert any(one.get("exp_alerts") for one in found), f"{name} never fires in a unit test"
    if name != "Watchdog":
        assert any(not one.get("exp_alerts") for one in found), f"{name} is never quiet in a unit test"


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tested_without_any_series(name: str) -> None:
    """Absent series either fire, or are proved not to; nobody left it to chance."""
    bare = [case for case in unit_tests() if not case["input_series"]]
    assert any(one["alertname"] == name for case in bare for one in case.get("alert_rule_test", [])), name


def test_every_rule_of_an_alert_is_the_one_that_fires_in_a_test() -> None:
    """Several rules may share a name: each of them is seen firing, told apart by its description."""
    said = {
        (one["alertname"], alert["exp_annotations"]["description"])
        for case in unit_tests()
        for one in case.get("alert_rule_test", [])
        for alert in one.get("exp_alerts", [])
    }
    assert said == {(rule["alert"], rule["annotations"]["description"]) for rule in alerts()}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_says_what_it_is_and_where_to_look(rule: dict[str, Any]) -> None:
    assert set(rule["labels"]) <= {"severity", "team", "slot", "component"}
    assert rule["labels"]["team"] == "recommendation"
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    annotations = rule["annotations"]
    assert set(annotations) - {"dashboard"} == {"summary", "description", "runbook"}
    assert "\n" not in annotations["summary"]
    assert "$value" not in str(rule["labels"]), "a label that changes makes another alert"
    page = PROJECT / annotations["runbook"]
    assert page.parent == DOCS / "runbooks"
    text = prose(page)
    assert text.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    for part in ("Look", "Act"):
        assert re.search(rf"^## {part}$[^#]*?^    \S", text, re.MULTILINE | re.DOTALL), f"{part} without a command"


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.relative_to(PROJECT).as_posix() for path in (DOCS / "runbooks").glob("*.md")}
    assert pages == {rule["annotations"]["runbook"] for rule in alerts()}


def test_only_what_should_revert_a_run_is_critical_and_names_one() -> None:
    """Critical and a ``run_id`` start a rollback: seen in what the unit tests expect, whatever the expression looks like."""
    fired = [
        (one["alertname"], alert["exp_labels"])
        for case in unit_tests()
        for one in case.get("alert_rule_test", [])
        for alert in one.get("exp_alerts", [])
    ]
    reverting = {name for name, labels in fired if labels["severity"] == "critical" and labels.get("run_id")}
    assert reverting == REVERTING
    slots = {(name, labels["slot"]) for name, labels in fired if name in REVERTING}
    assert {name for name, slot in slots if slot == "candidate"} == REVERTING
    assert ("RecommendationErrors", "current") in slots
    for rule in alerts():
        if rule["labels"]["severity"] == "critical" and "run" in rule["expr"] and rule["alert"] not in REVERTING:
            assert not re.search(r"by \([^)]*run_id|\{\{ \$labels\.run_id", rule["expr"] + str(rule["annotations"]))


def test_the_limit_of_data_quality_is_the_policys() -> None:
    policy = load_policy(PROJECT / "config" / "release_policy.yaml")
    (asked,) = [check for check in policy.checks if check.kind == "data_quality"]
    (low,) = [rule for rule in alerts() if rule["alert"] == "DataQualityLow"]
    assert f">= {asked.minimum_score:g})" in low["expr"]
    assert f"below {asked.minimum_score:g}" in low["annotations"]["summary"]


def test_scrapes_are_dense_enough_for_the_shortest_rate() -> None:
    """A rate over 15 s needs two samples even where one scrape is missed; ``count1m`` counts evaluations of 5 s."""
    config = read(PROMETHEUS / "prometheus.yml")
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"] == "5s"
    assert not [job["job_name"] for job in config["scrape_configs"] if "scrape_interval" in job]
    (group,) = read(PROMETHEUS / "rules" / "runs.yml")["groups"]
    assert group["interval"] == "5s"
    counts = [rule["expr"] for rule in group["rules"] if rule.get("record", "").endswith(":count1m")]
    assert len(counts) == 4
    assert all(expression.strip().endswith("[1m]) * 5") for expression in counts)
    ranges = set(re.findall(r"rate\([^[]*\[(\w+)\]", " ".join(rule["expr"] for rule in group["rules"])))
    assert ranges == {"15s"}


def test_rules_ask_only_for_what_is_scraped_or_recorded() -> None:
    """Each selector names its job or a recorded series; those of the alert bridge have one job by nature."""
    jobs = {job["job_name"] for job in read(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    for rule in rules():
        for name, labels in selectors(rule["expr"]):
            own = name in recorded() or name.startswith(("model_release_", "alert_bridge_"))
            assert own or labels.get("job") in jobs, f"{rule.get('alert', rule.get('record'))}: {name}"
