"""Messages that Airflow's notifiers could not send: remembered in the ledger, so that somebody else can say so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from model_release.ledger import Event, LedgerEntry

_MARK = "not_sent"


def not_sent(fact: str, error: Exception, *, release_id: str, by: str, at: dt.datetime) -> LedgerEntry:
    """Return the entry that says that the message about ``fact``, which was claimed, did not reach people, and why."""
    reason = f"{fact}: not sent: {error}"
    return LedgerEntry(at=at, event=Event.NOTIFIED, release_id=release_id, by=by, reason=reason, details={_MARK: True})


def count_unsent(entries: Iterable[LedgerEntry]) -> int:
    """Return how many messages were not sent since the ledger began; it never goes down."""
    return sum(entry.event is Event.NOTIFIED and entry.details.get(_MARK) is True for entry in entries)
