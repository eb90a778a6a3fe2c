"""Acknowledging an alert: what makes it one, whoever says so, on the command line or on a page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from model_release.errors import InvalidInputError
from model_release.evidence import Alert
from model_release.silences import LONGEST, OWNER, Silence, Wanted, active_of, extended

MOST_MINUTES = int(LONGEST.total_seconds() // 60)
_SHORTEST_REASON = 3  # signs


def owner_of(text: str) -> str:
    """Return who looks after it.

    Raises:
        InvalidInputError: it is nobody, or the name of the automatic silences.
    """
    name = " ".join(text.split())
    if not name or name == OWNER:
        raise InvalidInputError(f"{text!r} is nobody: give your name ({OWNER!r} owns the automatic silences)")
    return name


def reason_of(text: str) -> str:
    """Return what is known, or being done.

    Raises:
        InvalidInputError: it says nothing.
    """
    reason = " ".join(text.split())
    if len(reason) < _SHORTEST_REASON:
        raise InvalidInputError(f"{text!r} is no reason")
    return reason


def acknowledgement(
    alert: Alert, silences: Iterable[Silence], *, by: str, reason: str, minutes: int, now: dt.datetime
) -> Wanted | None:
    """Return the silence to set, or to extend if it is the same person's.

    None: it is acknowledged already, for longer or as long as 24 hours allow.

    Raises:
        InvalidInputError: the time is none, or too long.
    """
    if not 1 <= minutes <= MOST_MINUTES:
        raise InvalidInputError(f"{minutes} is no number of minutes from 1 to {MOST_MINUTES}")
    until, comment = now + dt.timedelta(minutes=minutes), f"acknowledged: {reason}"
    own = active_of(silences, alert.labels, by)
    if own:
        return extended(own[0], ends_at=until, comment=comment)
    return Wanted(labels=alert.labels, created_by=by, comment=comment, starts_at=now, ends_at=until)
