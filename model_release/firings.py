"""One firing of an alert: its name, whether it counts, and which of them may start something."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from model_release.evidence import Alert

CRITICAL = "critical"
_LONGEST_TEXT = 200  # of a label or a summary that is repeated

State = Literal["active", "silenced", "inhibited", "unprocessed"]


class Firing(NamedTuple):
    """One firing of one alert: what makes it the same one, whoever sends it again."""

    fingerprint: str
    starts_at: str


def name_of(alert: Alert) -> str:
    """Name one firing: ``alert__<fingerprint>__<start in UTC>``, the id of the DAG run that it may start."""
    start = alert.starts_at.astimezone(dt.UTC)
    return f"alert__{re.sub(r'[^0-9A-Za-z]', '_', alert.fingerprint)}__{start:%Y%m%dT%H%M%S%f}Z"


def state_of(alert: Alert) -> State:
    """Return whether an alert counts, and what keeps it from that: a silence is told before an inhibition."""
    if alert.silenced:
        return "silenced"
    if alert.inhibited or alert.state == "suppressed":
        return "inhibited"
    return alert.state


def concerning(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the alerts that are critical, or name a run; one that Alertmanager has not looked at yet comes later."""
    found = [
        alert
        for alert in alerts
        if state_of(alert) != "unprocessed" and (alert.labels.get("severity") == CRITICAL or alert.labels.get("run_id"))
    ]
    return sorted(found, key=lambda alert: (alert.starts_at, alert.fingerprint))


def short(text: str) -> str:
    """Return what an alert says as one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def exact(at: dt.datetime) -> str:
    """Return a time for the ledger's details: the same text for the same moment, whatever its zone."""
    return at.astimezone(dt.UTC).isoformat()
