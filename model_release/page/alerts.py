"""What fires, and what is silent: alerts and silences as Alertmanager has them, in one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.evidence import Alert
from model_release.silences import Silence

MOST_ALERTS = 200


class AlertNow(Frozen):
    """One alert; ``until`` and ``silenced_by`` are those of the silence that ends last."""

    name: str
    fingerprint: str
    severity: str
    state: Literal["firing", "silenced", "inhibited"]
    since: AwareDatetime
    summary: str
    labels: Mapping[str, str]
    silenced_by: str | None = None
    comment: str | None = None
    until: AwareDatetime | None = None


class Alerts(Frozen):
    """The alerts, firing ones first and critical ones before others; ``total`` counts those beyond the limit too."""

    alerts: tuple[AlertNow, ...]
    total: int
    firing: int


_ORDER = {"firing": 0, "silenced": 1, "inhibited": 2}


def alerts_now(alerts: Sequence[Alert], silences: Iterable[Silence]) -> Alerts:
    """Return what fires; ``silences`` may hold expired ones."""
    by_id = {silence.id: silence for silence in silences}
    found = [_alert(alert, by_id) for alert in alerts]
    found.sort(key=lambda one: (_ORDER[one.state], one.severity != "critical", one.since, one.fingerprint))
    firing = sum(one.state == "firing" for one in found)
    return Alerts(alerts=tuple(found[:MOST_ALERTS]), total=len(found), firing=firing)


def _alert(alert: Alert, by_id: Mapping[str, Silence]) -> AlertNow:
    known = [by_id[name] for name in alert.silenced_by if name in by_id]
    last = max(known, key=lambda silence: silence.ends_at, default=None)
    labels = {name: value for name, value in alert.labels.items() if name not in {"alertname", "severity"}}
    return AlertNow(
        name=alert.labels.get("alertname", ""),
        fingerprint=alert.fingerprint,
        severity=alert.labels.get("severity", ""),
        state="silenced" if alert.silenced else "inhibited" if alert.inhibited else "firing",
        since=alert.starts_at,
        summary=alert.summary,
        labels=labels,
        silenced_by=None if last is None else last.created_by,
        comment=None if last is None else last.comment,
        until=None if last is None else last.ends_at,
    )
