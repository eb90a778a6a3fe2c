"""Runs that a person keeps from being pruned: read from the ledger alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from model_release.ledger import Event, LedgerEntry


def holds(entries: Iterable[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Return the runs on hold, each with the entry that says who holds it and why; the last word about a run counts."""
    held: dict[str, LedgerEntry] = {}
    for entry in entries:
        if entry.run_id is None:
            continue
        if entry.event is Event.HELD:
            held[entry.run_id] = entry
        elif entry.event is Event.HOLD_ENDED:
            held.pop(entry.run_id, None)
    return held


def hold_entry(run_id: str, *, held: bool, reason: str, by: str, at: dt.datetime) -> LedgerEntry:
    """Return the entry that puts ``run_id`` on hold, or ends its hold."""
    event = Event.HELD if held else Event.HOLD_ENDED
    return LedgerEntry(at=at, event=event, release_id=f"hold:{run_id}", by=by, run_id=run_id, reason=reason)
