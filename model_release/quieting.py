"""One silence for an alert about the data that repeats: bounded, owned, extended, ended when the data is good again.

Everything is worked out from what Alertmanager has and what the ledger remembers, so that a run that was killed, or ran
beside another one, is made good by the next.  The ledger knows a silence as open from ``alert_silenced`` until
``alert_recovered`` or ``alert_unsilenced``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_release.errors import InvalidInputError
from model_release.evidence import Alert, DataQuality, Missing
from model_release.firings import exact, name_of
from model_release.identifiers import release_id_for
from model_release.ledger import Event, LedgerEntry
from model_release.silences import LONGEST, OWNER, Silence, Wanted, active_of, extended

FAMILY = "DataQuality"  # how the names of the alerts begin that may be silenced; those that name a table
WATCHDOG = "Watchdog"  # fires always: without it, that something does not fire says nothing
_UNREADABLE = "DataQualityUnreadable"
_WARM = dt.timedelta(minutes=5)  # a Prometheus that just began has alerts that wait for their `for`, a minute at most
_CLOSING = frozenset({Event.ALERT_UNSILENCED, Event.ALERT_RECOVERED})


@dataclass(frozen=True)
class Rules:
    """When an alert repeats, and for how long it is silent then.

    Attributes:
        firings: so many within ``within_hours`` are a repetition.
        longer_than_hours: so is one that fires for longer than this.
        silence_hours: how long a silence is set for; one that is half over is extended, up to 24 hours in all.
        pause_hours: how long an alert is heard after a silence ran out, or a person ended it.
    """

    firings: int = 3
    within_hours: float = 24.0
    longer_than_hours: float = 2.0
    silence_hours: float = 12.0
    pause_hours: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InvalidInputError: names the rule.
        """
        if self.firings < 2:  # noqa: PLR2004  (one is no repetition)
            raise InvalidInputError(f"firings is {self.firings}: at least 2 are a repetition")
        longest = LONGEST.total_seconds() / 3600.0
        for name in ("within_hours", "longer_than_hours", "silence_hours", "pause_hours"):
            value = getattr(self, name)
            most = longest if name == "silence_hours" else 24.0 * 31
            if not 0.0 < value <= most:
                raise InvalidInputError(f"{name} is {value:g}, expected above 0, up to {most:g}")


@dataclass(frozen=True)
class Seen:
    """What is known at one moment: what fires, what is silent, what was, and how good the data is."""

    alerts: tuple[Alert, ...]
    silences: Sequence[Silence]
    entries: Sequence[LedgerEntry]
    quality: DataQuality | Missing
    now: dt.datetime


@dataclass(frozen=True)
class Plan:
    """What Alertmanager has to be told; nothing: all is as it should be."""

    wanted: tuple[Wanted, ...] = ()
    expired: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.wanted or self.expired)


def firings(seen: Seen, *, dag: str, by: str) -> list[LedgerEntry]:
    """Return the entries of the firings that the ledger does not know: that is how repetitions are counted."""
    known = {_firing(entry) for entry in seen.entries if entry.event is Event.ALERT_FIRED}
    return [
        _entry(seen, Event.ALERT_FIRED, _told(alert.labels), _about(alert), dag=dag, by=by, firing=name_of(alert))
        for alert in about_data(seen.alerts)
        if (alert.fingerprint, exact(alert.starts_at)) not in known
    ]


def plan(seen: Seen, rules: Rules) -> Plan:
    """Return what is to be set, extended or ended.  Carried out and asked again, it comes to an end."""
    wanted: list[Wanted] = []
    expired: list[str] = []
    for alert in about_data(seen.alerts):
        own = active_of(seen.silences, alert.labels, OWNER)
        expired += [silence.id for silence in own[1:]]  # set by two runs at the same moment: all keep the same one
        silence = _extension(own[0], seen.now, rules) if own else _new(alert, seen, rules)
        if silence is not None:
            wanted.append(silence)
    loud = [alert.labels for alert in about_data(seen.alerts)]
    for one in seen.silences:
        ours = one.state == "active" and one.created_by == OWNER and one.labels is not None and one.labels not in loud
        if ours and _good_score(one.labels or {}, seen) is not None:
            expired.append(one.id)
    return Plan(tuple(wanted), tuple(expired))


def notes(seen: Seen, *, dag: str, by: str) -> list[LedgerEntry]:
    """Return what the ledger should learn once nothing is left to tell Alertmanager: what is silent, or so no more."""
    return [*_silenced(seen, dag=dag, by=by), *_over(seen, by=by)]


def about_data(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the alerts about the quality of a table, in an order that does not change."""
    found = [alert for alert in alerts if _is_about_data(alert.labels)]
    return sorted(found, key=lambda alert: alert.fingerprint)


def _is_about_data(labels: Mapping[str, str]) -> bool:
    return labels.get("alertname", "").startswith(FAMILY) and bool(labels.get("table"))


def _extension(silence: Silence, now: dt.datetime, rules: Rules) -> Wanted | None:
    length = dt.timedelta(hours=rules.silence_hours)
    return extended(silence, ends_at=now + length) if silence.ends_at - now < length / 2 else None


def _new(alert: Alert, seen: Seen, rules: Rules) -> Wanted | None:
    """Return the silence for an alert that has none; None: somebody else's holds, it is no repetition, or it is to be heard."""
    if alert.silenced or _is_to_be_heard(alert, seen, rules):
        return None
    why = _repeats(alert, seen, rules)
    if why is None:
        return None
    return Wanted(
        labels=alert.labels,
        created_by=OWNER,
        comment=f"{_told(alert.labels)} {why}; while it fires, gates that count silenced alerts pass no release",
        starts_at=seen.now,
        ends_at=seen.now + dt.timedelta(hours=rules.silence_hours),
    )


def _repeats(alert: Alert, seen: Seen, rules: Rules) -> str | None:
    """Return why an alert is a repetition; what was before the data was last good does not count."""
    if seen.now - alert.starts_at > dt.timedelta(hours=rules.longer_than_hours):
        return f"fires for more than {rules.longer_than_hours:g} h"
    since = seen.now - dt.timedelta(hours=rules.within_hours)
    count = 0
    for entry in seen.entries:
        if entry.details.get("fingerprint") != alert.fingerprint:
            continue
        if entry.event is Event.ALERT_RECOVERED:
            count = 0
        elif entry.event is Event.ALERT_FIRED and dt.datetime.fromisoformat(entry.details["starts_at"]) >= since:
            count += 1
    return f"fired {rules.firings} times within {rules.within_hours:g} h" if count >= rules.firings else None


def _is_to_be_heard(alert: Alert, seen: Seen, rules: Rules) -> bool:
    """Whether its last silence ran out, or was ended by a person, a short while ago, or just now."""
    if alert.fingerprint in _open(seen.entries):
        return True
    last = [
        entry.at
        for entry in seen.entries
        if entry.event is Event.ALERT_UNSILENCED and entry.details["fingerprint"] == alert.fingerprint
    ]
    return bool(last) and seen.now - last[-1] < dt.timedelta(hours=rules.pause_hours)


def _good_score(labels: Mapping[str, str], seen: Seen) -> float | None:
    """Return the score of data that is certainly good again; None: an alert may also be gone because nobody measures."""
    since = {alert.labels.get("alertname"): alert.starts_at for alert in seen.alerts}
    table = labels.get("table", "")
    watched = WATCHDOG in since and seen.now - since[WATCHDOG] >= _WARM
    if not watched or _UNREADABLE in since or isinstance(seen.quality, Missing):
        return None
    others = [alert for alert in about_data(seen.alerts) if alert.labels.get("table") == table]
    score = seen.quality.scores.get(table, math.nan)
    return None if others or not math.isfinite(score) else score


def _silenced(seen: Seen, *, dag: str, by: str) -> Iterator[LedgerEntry]:
    opened = _open(seen.entries)
    for alert in about_data(seen.alerts):
        own = active_of(seen.silences, alert.labels, OWNER)
        if own and alert.fingerprint not in opened:
            reason = f"{own[0].comment} (silence {own[0].id})"
            details = {**_about(alert), "silence_id": own[0].id, "until": exact(own[0].ends_at)}
            yield _entry(seen, Event.ALERT_SILENCED, reason, details, dag=dag, by=by, firing=name_of(alert))


def _over(seen: Seen, *, by: str) -> Iterator[LedgerEntry]:
    """Yield what became of the silences that are open as far as the ledger knows."""
    firing = {alert.fingerprint for alert in about_data(seen.alerts)}
    for fingerprint, opened in _open(seen.entries).items():
        labels, silence_id = opened.details["labels"], opened.details["silence_id"]
        details = dict(opened.details)
        if fingerprint in firing:
            if active_of(seen.silences, labels, OWNER):
                continue
            event, what = Event.ALERT_UNSILENCED, f"silence {silence_id} is over, and it still fires"
        elif (score := _good_score(labels, seen)) is not None:
            event, what = Event.ALERT_RECOVERED, f"is over (silence {silence_id})"
            details["score"] = score
        else:
            continue
        yield LedgerEntry(
            at=seen.now,
            event=event,
            release_id=opened.release_id,
            by=by,
            reason=f"{_told(labels)}: {what}",
            details=details,
        )


def _open(entries: Iterable[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Return the silences that are set as far as the ledger knows, by the alert's fingerprint."""
    found: dict[str, LedgerEntry] = {}
    for entry in entries:
        if entry.event is Event.ALERT_SILENCED:
            found[entry.details["fingerprint"]] = entry
        elif entry.event in _CLOSING:
            found.pop(entry.details["fingerprint"], None)
    return found


def _entry(
    seen: Seen, event: Event, reason: str, details: Mapping[str, Any], *, dag: str, by: str, firing: str
) -> LedgerEntry:
    """Return an entry under the name of the firing: the same, whichever run writes it."""
    release_id = release_id_for(dag, firing)
    return LedgerEntry(at=seen.now, event=event, release_id=release_id, by=by, reason=reason, details=details)


def _about(alert: Alert) -> dict[str, Any]:
    return {
        "alertname": alert.labels["alertname"],
        "table": alert.labels["table"],
        "fingerprint": alert.fingerprint,
        "starts_at": exact(alert.starts_at),
        "labels": dict(alert.labels),
    }


def _firing(entry: LedgerEntry) -> tuple[str, str]:
    return entry.details["fingerprint"], entry.details["starts_at"]


def _told(labels: Mapping[str, str]) -> str:
    return f"{labels['alertname']} of table {labels['table']}"
