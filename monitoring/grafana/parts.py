"""The parts of a Grafana dashboard as plain dictionaries, with what is the same on all of ours filled in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["timeseries", "stat", "table"]
Query = tuple[str, str]  # PromQL, and its legend
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3  # Grafana's grid is 24 wide
# A release at the second when it was made, and every other change of what is desired.
_ANNOTATIONS = (
    (
        "Releases",
        "1000 * max by (run_id) (model_release_current_info * on () group_left () max(model_release_last_released_timestamp_seconds))",
        "green",
        True,
    ),
    ("Changes", "max(changes(model_release_generation[1m])) > 0", "blue", False),
)


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows, as a person would ask for it.
        queries: what is drawn.
        unit: Grafana's name of the unit.
        limit: a line above which an alert fires, in that unit; None: no line.
        kind: how it is drawn.
        description: shown with the title.
    """

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    limit: float | None = None
    kind: Kind = "timeseries"
    description: str = ""


def dashboard(uid: str, title: str, panels: Iterable[Panel]) -> dict[str, Any]:
    """Return a whole dashboard, panels in rows of three."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["recommendation"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource_variable()]},
        "annotations": {"list": [_annotation(*one) for one in _ANNOTATIONS]},
        "links": [{"type": "dashboards", "tags": ["recommendation"], "title": "Recommendation", "asDropdown": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        style = "line" if panel.limit is not None else "off"
        defaults["custom"] = {"fillOpacity": 10, "spanNulls": False, "thresholdsStyle": {"mode": style}}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [_target(place, *query, kind=panel.kind) for place, query in enumerate(panel.queries)],
    }


def _options(kind: Kind) -> dict[str, Any]:
    match kind:
        case "timeseries":
            return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
        case "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name", "colorMode": "value"}
        case "table":
            return {"showHeader": True}


def _target(place: int, expression: str, legend: str, *, kind: Kind) -> dict[str, Any]:
    moment = kind != "timeseries"
    return {
        "refId": chr(ord("A") + place),
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend,
        "instant": moment,
        "range": not moment,
        "format": "table" if kind == "table" else "time_series",
    }


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _annotation(name: str, expression: str, colour: str, value_is_time: bool) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": expression,
        "titleFormat": f"{name[:-1]} {{{{run_id}}}}" if value_is_time else name[:-1],
        "useValueForTime": value_is_time,
        "step": "10s",
    }
