"""What people read of an alert: composed from the webhook, with nothing in it that WeCom could take for markdown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from alert_bridge.webhook import Alert, Webhook
from model_release.contract import utc_text
from model_release.messages import linked
from model_release.report.neutral import cut, for_robot

TITLE_BYTES = 300
_SUMMARY_BYTES, _LABEL_BYTES, _LINE_BYTES, _NAMES = 1500, 200, 1500, 4
_SIGNS: Mapping[str, str] = {"critical": "🚨", "warning": "⚠️"}
_OTHER_SIGN, _RESOLVED_SIGN, _DOUBT_SIGN = "ℹ️", "✅", "❔"
_WHERE = ("run_id", "table", "slot", "instance")
_HIDDEN = frozenset({"alertname", "severity", "team", *_WHERE})


@dataclass(frozen=True)
class Links:
    """Where the links of a message lead; what is empty is left out, or taken from the webhook."""

    runbooks_url: str = ""
    alertmanager_url: str = ""
    airflow_url: str = ""


@dataclass(frozen=True)
class Text:
    """One message, of any length; ``urgent``: people are to be called."""

    title: str
    markdown: str
    urgent: bool


def firing(group: Webhook, links: Links) -> Text:
    """Return the message about the ``group``'s alerts, which have begun to fire."""
    alerts = group.alerts
    urgent = any(alert.critical for alert in alerts)
    title = _title(_SIGNS["critical"] if urgent else _sign(alerts[0]), alerts, "alerts")
    base = links.alertmanager_url or group.external_url
    blocks = [_block(alert, _firing_lines(alert, base, links), alone=len(alerts) == 1) for alert in alerts]
    if group.truncated:
        blocks.append(f"and {group.truncated} more alerts of this group, see Alertmanager")
    return Text(title, _text(title, blocks), urgent)


def resolved(group: Webhook, links: Links) -> Text:
    """Return the message that the ``group``'s alerts, which were told, are over."""
    del links
    title = _title(f"{_RESOLVED_SIGN} Resolved:", group.alerts, "alerts")
    alone = len(group.alerts) == 1
    blocks = [_block(alert, [_duration(alert)], alone=alone) for alert in group.alerts]
    return Text(title, _text(title, blocks), urgent=False)


def in_doubt(number: int, titles: Sequence[str]) -> Text:
    """Return the message that message ``number`` may not have arrived: its answer got lost, and it is not sent twice."""
    title = f"{_DOUBT_SIGN} May be missing above: message {number}"
    why = "WeCom's answer to it got lost. It is not sent again, so that nothing arrives twice. It said:"
    return Text(title, _text(title, [why, *titles]), urgent=False)


def headline(alert: Alert) -> str:
    """Return an alert in one line."""
    sign = _RESOLVED_SIGN if alert.status == "resolved" else _sign(alert)
    summary = alert.annotations.get("summary", "")
    said = f": {for_robot(summary)}" if summary else ""
    where = " ".join(_places(alert)).replace("`", "")  # a cut may part two of them
    return cut(f"{sign} {for_robot(alert.name)}{said} {where}".rstrip(), TITLE_BYTES)


def silence_link(base: str, labels: Mapping[str, str]) -> str:
    """Return the page of Alertmanager that silences exactly the alerts with these labels."""
    pairs = ",".join(f"{name}={_quoted(value)}" for name, value in sorted(labels.items()))
    return f"{base.rstrip('/')}/#/silences/new?filter={quote('{' + pairs + '}', safe='')}"


def acknowledge_command(alert: Alert) -> str:
    """Return the command with which a person takes an alert."""
    return f"python -m model_release.acknowledge {alert.fingerprint} --by NAME --minutes 60 --reason TEXT"


def _title(sign: str, alerts: Sequence[Alert], plural: str) -> str:
    names = list(dict.fromkeys(for_robot(alert.name) for alert in alerts))
    told = ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
    return cut(f"{sign} {told}" if len(alerts) == 1 else f"{sign} {len(alerts)} {plural}: {told}", TITLE_BYTES)


def _text(title: str, blocks: Sequence[str]) -> str:
    return "\n".join([f"**{title}**", *blocks])


def _block(alert: Alert, lines: Sequence[str], *, alone: bool) -> str:
    summary = cut(for_robot(alert.annotations.get("summary", "")), _SUMMARY_BYTES)
    head = [] if alone else ["", f"**{_sign(alert)} {cut(for_robot(alert.name), TITLE_BYTES)}**"]
    return "\n".join([*head, *([summary] if summary else []), *_beside(_places(alert)), *lines])


def _places(alert: Alert) -> list[str]:
    """Return the labels that say where, those of the project first."""
    others = sorted(name for name in alert.labels if name not in _HIDDEN)
    names = [name for name in _WHERE if alert.labels.get(name)] + [name for name in others if alert.labels[name]]
    return [f"{for_robot(name)} `{cut(for_robot(alert.labels[name]), _LABEL_BYTES)}`" for name in names]


def _beside(pieces: Sequence[str]) -> list[str]:
    """Return pieces in one line, or in a line each if one would be so long that it might be cut within a piece."""
    line = " · ".join(pieces)
    return [line] if pieces and len(line.encode()) <= _LINE_BYTES else list(pieces)


def _firing_lines(alert: Alert, base: str, links: Links) -> list[str]:
    lines = [f"since {utc_text(alert.starts_at)}"]
    lines += [_harmless(line) for line in alert.annotations.get("description", "").splitlines() if line.strip()]
    pages = [linked(silence_link(base, alert.labels), "Silence", instead="see Alertmanager")] if _is_http(base) else []
    runbook = _runbook(alert.annotations.get("runbook", ""), links.runbooks_url)
    pages += [runbook] if runbook else []
    if links.airflow_url and alert.critical and alert.labels.get("run_id"):
        pages.append(
            linked(f"{links.airflow_url.rstrip('/')}/dags/recommendation_act_on_alerts", "Rollback in Airflow")
        )
    return [*lines, *_beside(pages), f"acknowledge: `{acknowledge_command(alert)}`"]


def _runbook(path: str, base: str) -> str:
    if not path:
        return ""
    address = path if _is_http(path) else f"{base.rstrip('/')}/{path.lstrip('/')}" if base else ""
    return linked(address, "Runbook", instead="see the documentation") if address else f"runbook: {for_robot(path)}"


def _harmless(line: str) -> str:
    """Return a line of a description; one that begins like a heading begins like none."""
    plain = for_robot(line)
    return f"＃{plain[1:]}" if plain.startswith("#") else plain


def _duration(alert: Alert) -> str:
    if alert.ends_at is None or alert.ends_at < alert.starts_at:
        return f"since {utc_text(alert.starts_at)}"
    lasted = dt.timedelta(seconds=round((alert.ends_at - alert.starts_at).total_seconds()))
    return f"from {utc_text(alert.starts_at)} to {utc_text(alert.ends_at)}, {lasted}"


def _sign(alert: Alert) -> str:
    return _SIGNS.get(alert.labels.get("severity", ""), _OTHER_SIGN)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))
