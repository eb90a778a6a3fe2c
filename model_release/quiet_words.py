"""What people are told of automatic silences, once each: that one was set, that it is over, that the data is good again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import assert_never

from model_release.ledger import Event, LedgerEntry
from model_release.messages import Message, linked
from model_release.report.neutral import cut, for_robot

_TOLD = frozenset({Event.ALERT_SILENCED, Event.ALERT_UNSILENCED, Event.ALERT_RECOVERED})
_LINE_BYTES, _MOST_LINES = 600, 5  # of a message of at most 4096 bytes


def untold(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return what nobody was told yet, oldest first."""
    claimed = {(entry.release_id, entry.reason) for entry in entries if entry.event is Event.NOTIFIED}
    return [entry for entry in entries if entry.event in _TOLD and (entry.release_id, _claim(entry)) not in claimed]


def claim(entry: LedgerEntry, *, by: str, at: dt.datetime) -> LedgerEntry:
    """Return the entry that says that ``entry`` is told; the same fact whoever tells it, so that only one may."""
    return LedgerEntry(at=at, event=Event.NOTIFIED, release_id=entry.release_id, by=by, reason=_claim(entry))


def compose(news: Sequence[LedgerEntry], entries: Sequence[LedgerEntry], *, link: str) -> Message:  # noqa: ARG001
    """Return the message about ``news``, from :func:`untold`, at least one; ``entries`` is the ledger."""
    events = {entry.event for entry in news}
    if Event.ALERT_UNSILENCED in events:
        title = "🔔 An alert about the data is heard again"
    elif Event.ALERT_SILENCED in events:
        title = "🔕 An alert about the data repeats: silenced, releases wait"
    else:
        title = "✅ Recovered: the data is good again"
    lines = [cut(for_robot(_line(entry)), _LINE_BYTES) for entry in news[:_MOST_LINES]]
    if len(news) > _MOST_LINES:
        lines.append(f"... and {len(news) - _MOST_LINES} more in the ledger")
    text = "\n".join([f"**{title}**", *lines, "", linked(link)])
    return Message(title=title, markdown=text, good=events == {Event.ALERT_RECOVERED}, fact=_claim(news[-1]))


def _line(entry: LedgerEntry) -> str:
    match entry.event:
        case Event.ALERT_SILENCED:
            return f"🔕 until {_utc(entry.details['until'])}: {entry.reason}"
        case Event.ALERT_UNSILENCED:
            return f"🔔 {entry.reason}"
        case Event.ALERT_RECOVERED:
            return f"✅ {entry.reason}; the score is {entry.details['score']:.1f}"
        case event:
            assert_never(event)  # type: ignore[arg-type]  # untold gives no other


def _utc(text: str) -> str:
    return f"{dt.datetime.fromisoformat(text).astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _claim(entry: LedgerEntry) -> str:
    return f"{entry.event} {entry.details['silence_id']}"
