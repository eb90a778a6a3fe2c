"""Webhooks as Alertmanager 0.25 makes them."""

from __future__ import annotations

import copy
from typing import Any

START = "2026-11-25T09:17:03.123456789Z"
END = "2026-11-25T09:29:33.123Z"
NEVER = "0001-01-01T00:00:00Z"


def alert(
    name: str = "RecommendationErrors",
    *,
    fingerprint: str = "00000000000000a1",
    start: str = START,
    end: str | None = None,
    summary: str = "run r1 answers 12 % of requests with errors",
    annotations: dict[str, str] | None = None,
    **labels: str,
) -> dict[str, Any]:
    """Return one alert; it is over if it has an ``end``."""
    return {
        "status": "resolved" if end else "firing",
        "labels": {"alertname": name, "severity": "critical", "team": "recommendation", **labels},
        "annotations": {"summary": summary, **(annotations or {})},
        "startsAt": start,
        "endsAt": end or NEVER,
        "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
        "fingerprint": fingerprint,
    }


def over(one: dict[str, Any], end: str = END) -> dict[str, Any]:
    """Return the same alert when it is over."""
    return {**copy.deepcopy(one), "status": "resolved", "endsAt": end}


def webhook(*alerts: dict[str, Any], **about: Any) -> dict[str, Any]:
    """Return the webhook of a group of alerts."""
    firing = any(one["status"] == "firing" for one in alerts)
    return {
        "version": "4",
        "groupKey": '{}:{alertname="RecommendationErrors"}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "wecom",
        "groupLabels": {"alertname": "RecommendationErrors"},
        "commonLabels": {"team": "recommendation"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": list(alerts),
        **about,
    }
