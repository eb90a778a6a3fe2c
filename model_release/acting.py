"""What a firing alert starts: a rollback of the current run, the end of a trial, or nothing, and why.

Edge-triggered: one firing, named by fingerprint and start, is decided once, and the ledger remembers it.  What an alert
started is not started again by another alert about the same run.  Latched: what somebody went back to is not gone back
from while the latch is set.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from model_release.contract import utc_text
from model_release.errors import InvalidInputError
from model_release.evidence import Alert
from model_release.firings import CRITICAL, Firing, State, concerning, exact, name_of, short, state_of
from model_release.identifiers import check_run_id, release_id_for
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import Candidate, Registry

_LONGEST_REASON = 500  # of the rollback's form
_START_WITHIN = dt.timedelta(hours=1)  # what was decided earlier and never begun is history
_DECISIONS = frozenset({Event.ALERT_ACTED, Event.ALERT_LEFT})
_SILENT = frozenset({*_DECISIONS, Event.NOTIFIED})  # they say nothing about whether a rollback began

Action = Literal["rollback", "end_trial"]


@dataclass(frozen=True)
class Start:
    """A rollback to start: the name that it has whoever starts it, and what its form says."""

    dag_run_id: str
    conf: Mapping[str, Any]


def waiting(
    alerts: Iterable[Alert], registry: Registry, entries: Sequence[LedgerEntry], *, now: dt.datetime
) -> list[str]:
    """Return the names of the firings that somebody has to decide on, or to carry out, oldest first."""
    decided, left = _decisions(entries), {start.dag_run_id for start in to_start(entries, registry, now=now)}
    return [
        name_of(alert) for alert in concerning(alerts) if _decision(decided, alert) is None or name_of(alert) in left
    ]


def react(
    alerts: Iterable[Alert],
    registry: Registry,
    entries: Sequence[LedgerEntry],
    *,
    rollback_dag: str,
    by: str,
    at: dt.datetime,
) -> list[LedgerEntry]:
    """Decide on every firing that was not decided yet; return what the ledger has to learn before anything is started.

    An alert that is silenced or inhibited is decided again when it is so no more.

    Args:
        alerts: all that Alertmanager has.
        registry: the desired state, read after the alerts.
        entries: the whole ledger, read after the registry.
        rollback_dag: the DAG that carries it out; an entry belongs to the release that its DAG run is.
        by: who decides.
        at: the time now.
    """
    known, decided = list(entries), _decisions(entries)
    news: list[LedgerEntry] = []
    for alert in concerning(alerts):
        if _decision(decided, alert) is not None:
            continue
        action, reason = _reaction(alert, registry, known)
        entry = LedgerEntry(
            at=at,
            event=Event.ALERT_LEFT if action is None else Event.ALERT_ACTED,
            release_id=release_id_for(rollback_dag, name_of(alert)),
            by=by,
            run_id=_run_named(alert),
            generation=_generation(registry, action),
            reason=reason,
            details=_details(alert, action),
        )
        known.append(entry)
        news.append(entry)
        decided |= _decisions([entry])
    return news


def to_start(entries: Sequence[LedgerEntry], registry: Registry, *, now: dt.datetime) -> list[Start]:
    """Return the rollbacks that alerts started and that have not begun, as far as the ledger knows.

    To start one again is harmless, as its DAG run has a name: so a process that died between ledger and start loses
    nothing.  What it was about must still stand.
    """
    begun = _begun(entries)
    return [
        Start(entry.details["dag_run_id"], _conf(entry))
        for entry in entries
        if entry.event is Event.ALERT_ACTED
        and entry.release_id not in begun
        and _stands(entry, registry)
        and now - entry.at <= _START_WITHIN
    ]


def _reaction(alert: Alert, registry: Registry, known: Sequence[LedgerEntry]) -> tuple[Action | None, str]:
    """Return what one firing starts, and why."""
    severity, named = alert.labels.get("severity", ""), alert.labels.get("run_id", "")
    if severity != CRITICAL:
        return None, f"its severity is {short(severity)!r}, not {CRITICAL!r}" if severity else "it has no severity"
    if not named:
        return None, "it names no run"
    match state_of(alert):
        case "silenced" | "inhibited" as state:
            return None, f"it is {state}"
        case _:
            pass
    if registry.current is not None and registry.current.run_id == named:
        return _about_current(alert, registry, known)
    if registry.candidate is not None and registry.candidate.run_id == named:
        return _about_candidate(alert, registry.candidate, known)
    current = registry.current.run_id if registry.current else "none"
    trial = registry.candidate.run_id if registry.candidate else "none"
    return None, f"it names run {short(named)!r}: current is {current}, on trial is {trial}"


def _stands(entry: LedgerEntry, registry: Registry) -> bool:
    """Whether what an alert acted on is still there: a run that became current again since is another case."""
    current, candidate = registry.current, registry.candidate
    if current is not None and current.run_id == entry.run_id:
        return entry.details["action"] == "end_trial" or current.generation == entry.generation
    return candidate is not None and candidate.run_id == entry.run_id


def _about_current(alert: Alert, registry: Registry, known: Sequence[LedgerEntry]) -> tuple[Action | None, str]:
    current, latch = registry.current, registry.latch
    assert current is not None  # noqa: S101  (the caller has looked)
    if alert.starts_at < current.since:
        return None, f"it began before run {current.run_id} became current, at {utc_text(current.since)}"
    before = [entry for entry in _acted(known, current.run_id, "rollback") if entry.generation == current.generation]
    if before:
        return None, f"run {current.run_id} is being rolled back already, by {before[0].details['dag_run_id']}"
    if latch is not None and _came_back(registry):
        return None, (
            f"the latch is set since {utc_text(latch.since)} by {latch.by}, and run {current.run_id} is what was gone back "
            "to: a person decides what comes next"
        )
    if registry.last_good_run_id() is None:
        return None, "there is no earlier run that served well: nothing to go back to"
    return "rollback", f"run {current.run_id} is current: it is rolled back"


def _about_candidate(alert: Alert, candidate: Candidate, known: Sequence[LedgerEntry]) -> tuple[Action | None, str]:
    since = _trial_since(candidate, known)
    if alert.starts_at < since:
        return None, f"it began before run {candidate.run_id} went on trial, at {utc_text(since)}"
    before = [entry for entry in _acted(known, candidate.run_id, "end_trial") if entry.at >= since]
    if before:
        return None, f"the trial of run {candidate.run_id} is being ended already, by {before[0].details['dag_run_id']}"
    return "end_trial", f"run {candidate.run_id} is on trial: its trial is ended"


def _came_back(registry: Registry) -> bool:
    """Whether the current run is one that somebody went back to: that must not be gone back from by the same incident."""
    return bool(registry.history) and registry.history[0].ended == "rolled_back"


def _trial_since(candidate: Candidate, known: Sequence[LedgerEntry]) -> dt.datetime:
    """Return when the release put its run on trial first: each step of a rollout begins the candidate anew."""
    since = candidate.since
    for entry in of_release(known, candidate.release_id):
        match entry.event:
            case Event.COMMITTED if entry.run_id == candidate.run_id and entry.mode not in {None, "primary"}:
                since = min(since, entry.at)
            case Event.PUT_BACK | Event.TRIAL_ENDED:
                since = candidate.since
            case _:
                pass
    return since


def _acted(known: Iterable[LedgerEntry], run_id: str, action: Action) -> list[LedgerEntry]:
    return [
        entry
        for entry in known
        if entry.event is Event.ALERT_ACTED and entry.run_id == run_id and entry.details["action"] == action
    ]


def _decisions(entries: Iterable[LedgerEntry]) -> dict[tuple[Firing, State | None], LedgerEntry]:
    """Return the decisions by firing; one to leave it alone holds only for the state that the alert was in."""
    found: dict[tuple[Firing, State | None], LedgerEntry] = {}
    for entry in entries:
        if entry.event in _DECISIONS:
            details = entry.details
            state = None if entry.event is Event.ALERT_ACTED else details["state"]
            found[Firing(details["fingerprint"], details["starts_at"]), state] = entry
    return found


def _decision(decided: Mapping[tuple[Firing, State | None], LedgerEntry], alert: Alert) -> LedgerEntry | None:
    firing = Firing(alert.fingerprint, exact(alert.starts_at))
    return decided.get((firing, None)) or decided.get((firing, state_of(alert)))


def _begun(entries: Iterable[LedgerEntry]) -> frozenset[str]:
    return frozenset(entry.release_id for entry in entries if entry.event not in _SILENT)


def _generation(registry: Registry, action: Action | None) -> int | None:
    """Return when what the action is about became so: a run that is made current again is another case."""
    match action:
        case "rollback":
            return registry.current.generation if registry.current else None
        case "end_trial":
            return registry.candidate.generation if registry.candidate else None
        case None:
            return None


def _run_named(alert: Alert) -> str | None:
    try:
        return check_run_id(alert.labels.get("run_id", ""))
    except InvalidInputError:  # none, or one that must not stand in the ledger as one; the reason repeats it
        return None


def _details(alert: Alert, action: Action | None) -> dict[str, Any]:
    found = {
        "alertname": alert.labels.get("alertname", ""),
        "fingerprint": alert.fingerprint,
        "starts_at": exact(alert.starts_at),
        "state": state_of(alert),
        "summary": short(alert.summary),
        "dag_run_id": name_of(alert),
    }
    return found if action is None else {**found, "action": action}


def _conf(entry: LedgerEntry) -> dict[str, Any]:
    """Return the form of the rollback; a text of an alert must not become a template there."""
    details = entry.details
    since = dt.datetime.fromisoformat(details["starts_at"])
    said = f"alert {details['alertname']} fires since {utc_text(since)}, {entry.reason}"
    told = f"{said}. {details['summary']}" if details["summary"] else said
    return {
        "reason": told.translate(str.maketrans("{}", "()"))[:_LONGEST_REASON],
        "away_from": entry.run_id,
        "set_latch": True,
    }
