"""Which releases have begun and not ended: read from the ledger alone, for whoever watches for one that is stuck."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from model_release.ledger import Event, LedgerEntry

_BEGINS = frozenset(
    {
        Event.REGISTERED,
        Event.GATE_DECIDED,
        Event.COMMITTED,
        Event.RELEASED,
        Event.TRIAL_STARTED,
        Event.PUT_BACK,
        Event.APPROVAL_ASKED,
        Event.APPROVED,
    }
)
_BY_HAND = "api:"  # who calls a replica without Airflow: that is over with the answer


def open_releases(entries: Iterable[LedgerEntry]) -> dict[str, dt.datetime]:
    """Return when each release began that has not ended, by its id; a DAG run that was cleared begins anew.

    A release ends when what it put in force for everybody is verified; when it says no, or fails, with nothing in force;
    when it went back; when people were told how it ended; when another one changed what everybody gets; and when the
    state was restored from a backup.
    """
    begun: dict[str, dt.datetime] = {}
    in_force: dict[str, str] = {}
    for entry in entries:
        name = entry.release_id
        if entry.event in _BEGINS and not entry.by.startswith(_BY_HAND):
            begun.setdefault(name, entry.at)
        if entry.event is Event.RESTORED:  # what was under way when the backup was made goes on nowhere
            begun, in_force = {}, {}
        if entry.event is Event.COMMITTED:
            in_force[name] = entry.mode or "primary"
            if in_force[name] == "primary":
                begun = {name: begun[name]} if name in begun else {}
        elif entry.event in {Event.PUT_BACK, Event.TRIAL_ENDED, Event.ROLLED_BACK}:
            in_force.pop(name, None)
        if _ends(entry, in_force.get(name)):
            begun.pop(name, None)
    return begun


def last_released(entries: Iterable[LedgerEntry]) -> dt.datetime | None:
    """Return when a run was last proved to be what everybody gets, ways back not counted; None: never."""
    return max((entry.at for entry in entries if entry.event is Event.RELEASED), default=None)


def _ends(entry: LedgerEntry, in_force: str | None) -> bool:
    match entry.event:
        case Event.VERIFIED:
            return in_force == "primary"
        case Event.REJECTED | Event.FAILED | Event.DECLINED:
            return in_force is None  # else the way back follows
        case Event.TRIAL_ENDED | Event.ROLLED_BACK:
            return True
        case Event.NOTIFIED:  # of the end, or of a question on the way
            return not entry.reason.startswith(Event.APPROVAL_ASKED)
        case _:
            return False
