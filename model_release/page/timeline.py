"""What served when, and what was released: a stretch of time at once, a page of releases at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.errors import InvalidInputError
from model_release.ledger import Event, LedgerEntry
from model_release.page.releases import Kind, Outcome, Release, releases
from model_release.reconciling.serving import State, states, stints

MOST_LANES = 400  # pieces that can be told apart on a screen
MOST_RELEASES = 100  # of one page

_NEWS = frozenset({Event.DEVIATED, Event.RECOVERED, Event.ALERT_ACTED, Event.ALERT_LEFT, Event.ALERT_FIRED})


class Served(Frozen):
    """A time in which a run was desired for everybody; ``until`` is left out if it goes on."""

    run_id: str | None
    generation: int
    since: AwareDatetime
    until: AwareDatetime | None


class Tried(Frozen):
    """A time in which a run was on trial."""

    run_id: str
    mode: str
    rollout: float | None
    release_id: str
    since: AwareDatetime
    until: AwareDatetime | None


class Latched(Frozen):
    """A time in which automatic releases were stopped."""

    reason: str
    since: AwareDatetime
    until: AwareDatetime | None


class News(Frozen):
    """What was seen between releases."""

    at: AwareDatetime
    event: Event
    reason: str


class Dot(Frozen):
    """A release where it began, to be drawn."""

    release_id: str
    at: AwareDatetime
    kind: Kind
    outcome: Outcome
    run_id: str | None


class Timeline(Frozen):
    """A stretch of time, and a page of the releases in it, the newest first.

    Attributes:
        first, last: of all that the ledger tells.
        dots: the releases of the stretch, the newest first; ``releases`` tells a page of them in full.
        cut: more happened than is drawn; zoom in.
        total: how many releases there are in the stretch.
        after: where the next page begins; left out on the last one.
    """

    first: AwareDatetime | None
    last: AwareDatetime | None
    start: AwareDatetime
    end: AwareDatetime
    served: tuple[Served, ...]
    tried: tuple[Tried, ...]
    latched: tuple[Latched, ...]
    news: tuple[News, ...]
    dots: tuple[Dot, ...]
    cut: bool
    releases: tuple[Release, ...]
    total: int
    after: str | None


@dataclass(frozen=True)
class History:
    """The ledger, read through once; whoever looks at a stretch of it starts from here."""

    entries: Sequence[LedgerEntry]
    releases: Sequence[Release]
    states: Sequence[State]
    tried: Sequence[Tried]
    latched: Sequence[Latched]
    news: Sequence[News]

    @classmethod
    def of(cls, entries: Sequence[LedgerEntry]) -> History:
        """Read a ledger."""
        return cls(
            entries=entries,
            releases=releases(entries),
            states=states(entries),
            tried=_trials(entries),
            latched=_latches(entries),
            news=[News(at=one.at, event=one.event, reason=one.reason) for one in entries if one.event in _NEWS],
        )

    def release(self, release_id: str) -> Release | None:
        """Return one release."""
        return next((one for one in self.releases if one.release_id == release_id), None)


def timeline(
    history: History,
    *,
    start: dt.datetime,
    end: dt.datetime,
    kinds: Sequence[Kind] = ("release", "rollback", "by_hand", "latch"),
    outcome: Outcome | None = None,
    after: str | None = None,
    limit: int = 30,
) -> Timeline:
    """Return what happened between ``start`` and ``end``.

    Args:
        history: of the whole ledger.
        start: from here on.
        end: up to here.
        kinds: which releases are listed.
        outcome: only these; None: all.
        after: what the page before gave for it.
        limit: releases of one page, 1 to 100.

    Raises:
        InvalidInputError: the stretch has no length, or the limit or the place is none.
    """
    if not start < end:
        raise InvalidInputError(f"a time from {start.isoformat()} to {end.isoformat()} has no length")
    if not 1 <= limit <= MOST_RELEASES:
        raise InvalidInputError(f"limit is {limit}, expected 1 to {MOST_RELEASES}")
    inside = [
        one
        for one in history.releases
        if one.kind in kinds and outcome in {None, one.outcome} and one.began < end and one.last >= start
    ]
    place = _place(after)
    page = [one for one in inside if place is None or (one.began, one.release_id) < place]
    shown = page[:limit]
    served = [Served(**one.model_dump()) for one in stints(history.states, start, end)]
    tried, latched = _within(history.tried, start, end), _within(history.latched, start, end)
    news = [one for one in history.news if start <= one.at < end]
    dots = [
        Dot(release_id=one.release_id, at=one.began, kind=one.kind, outcome=one.outcome, run_id=one.run_id)
        for one in inside[:MOST_LANES]
    ]
    more = shown[-1] if len(page) > limit else None
    return Timeline(
        first=history.entries[0].at if history.entries else None,
        last=history.entries[-1].at if history.entries else None,
        start=start,
        end=end,
        served=tuple(served[-MOST_LANES:]),
        tried=tuple(tried[-MOST_LANES:]),
        latched=tuple(latched[-MOST_LANES:]),
        news=tuple(news[-MOST_LANES:]),
        dots=tuple(dots),
        cut=max(len(served), len(tried), len(latched), len(news), len(inside)) > MOST_LANES,
        releases=tuple(shown),
        total=len(inside),
        after=None if more is None else f"{more.began.isoformat()}|{more.release_id}",
    )


_Piece = TypeVar("_Piece", Tried, Latched)


def _within(pieces: Sequence[_Piece], start: dt.datetime, end: dt.datetime) -> list[_Piece]:
    return [one for one in pieces if one.since < end and (one.until is None or one.until > start)]


def _place(after: str | None) -> tuple[dt.datetime, str] | None:
    if after is None:
        return None
    at, _, release_id = after.partition("|")
    try:
        place = dt.datetime.fromisoformat(at).astimezone(dt.UTC)
    except ValueError as error:
        raise InvalidInputError(f"after {after!r} is not what a page before gave") from error
    if not release_id:
        raise InvalidInputError(f"after {after!r} is not what a page before gave")
    return place, release_id


def _trials(entries: Sequence[LedgerEntry]) -> list[Tried]:
    """Return the trials, one piece for each mode and share, in their order."""
    found: list[Tried] = []
    changes = {Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED}
    for entry in entries:
        if entry.event not in changes:
            continue
        if found and found[-1].until is None:
            found[-1] = found[-1].model_copy(update={"until": entry.at})
        if entry.event is Event.COMMITTED and entry.mode in {"shadow", "canary"} and entry.run_id is not None:
            piece = Tried(
                run_id=entry.run_id, mode=entry.mode, rollout=entry.rollout, release_id=entry.release_id,
                since=entry.at, until=None,
            )  # fmt: skip
            found.append(piece)
    return found


def _latches(entries: Sequence[LedgerEntry]) -> list[Latched]:
    found: list[Latched] = []
    for entry in entries:
        closed = not found or found[-1].until is not None
        if entry.event is Event.LATCH_SET and closed:
            found.append(Latched(reason=entry.reason, since=entry.at, until=None))
        elif entry.event is Event.LATCH_CLEARED and not closed:
            found[-1] = found[-1].model_copy(update={"until": entry.at})
    return found
