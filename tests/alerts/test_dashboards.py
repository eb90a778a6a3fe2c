"""The dashboards are what the generator writes, and ask Prometheus what it understands.  test_stack.py runs them."""

from __future__ import annotations

import json
from typing import Any

import promql_parser
import pytest

from monitoring.grafana.generate import FOLDER, dashboards, render
from tests import monitoring
from tests.alerts.rules import MONITORING, alerts, read, run, selectors
from tests.docs_pages import PROJECT

ALL = list(dashboards())


def expressions() -> list[str]:
    found = [target["expr"] for one in ALL for panel in one["panels"] for target in panel["targets"]]
    found += [note["expr"] for one in ALL for note in one["annotations"]["list"]]
    return [expression.replace("$__rate_interval", "1m") for expression in found]


@pytest.mark.parametrize("one", ALL, ids=lambda one: str(one["uid"]))
def test_the_files_are_what_the_generator_writes(one: dict[str, Any]) -> None:
    """A change by hand, or a forgotten ``python -m monitoring.grafana.generate``, is noticed."""
    assert (FOLDER / f"{one['uid']}.json").read_text(encoding="utf-8") == render(one)


def test_no_file_is_of_another_origin() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {one["uid"] for one in ALL}


@pytest.mark.parametrize("one", ALL, ids=lambda one: str(one["uid"]))
def test_panels_have_places_of_their_own_and_a_datasource_to_choose(one: dict[str, Any]) -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in one["panels"]]
    assert len(places) == len(set(places)) >= 6
    assert all(panel["targets"] for panel in one["panels"])
    assert {panel["datasource"]["uid"] for panel in one["panels"]} == {"${datasource}"}
    assert [variable["name"] for variable in one["templating"]["list"]] == ["datasource"]
    assert len({panel["id"] for panel in one["panels"]}) == len(one["panels"])
    assert len({panel["title"] for panel in one["panels"]}) == len(one["panels"])


def test_every_expression_is_promql() -> None:
    for expression in expressions():
        promql_parser.parse(expression)
        assert list(selectors(expression)), expression


def test_prometheus_own_parser_takes_every_expression(tmp_path: Any) -> None:
    monitoring.need("promtool")
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", "--lint=none", tmp_path / "rules.yml")


def test_the_dashboards_that_alerts_name_exist() -> None:
    assert {rule["annotations"]["dashboard"] for rule in alerts() if "dashboard" in rule["annotations"]} <= {
        one["uid"] for one in ALL
    }


def test_lines_stand_where_alerts_fire() -> None:
    limits = {
        target["expr"]: step["value"]
        for one in ALL
        for panel in one["panels"]
        for target in panel["targets"]
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
    }
    for rule in alerts():
        shown = [name for name, _ in selectors(rule["expr"]) if name in limits and name.endswith("ratio1m")]
        for name in shown:
            assert f"{name} > {limits[name]}" in rule["expr"]
    assert sum(expression.endswith("ratio1m") for expression in limits) == 4


def test_grafana_is_told_where_dashboards_and_data_are() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = read(provisioning / "dashboards" / "recommendation.yml")["providers"]
    assert provider["allowUiUpdates"] is False
    assert FOLDER == PROJECT / "monitoring" / "grafana" / "dashboards"
