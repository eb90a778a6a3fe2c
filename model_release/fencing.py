"""What has been overtaken moves nothing: a release that is repeated, cleared or made up for must not bring an old run back.

A release is as old as the moment when it was asked for: waiting in a queue, a retry and a clear leave that as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_release.changes import last_change
from model_release.errors import IllegalMoveError, OutdatedReleaseError
from model_release.identifiers import put_back_id
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import Registry

_ASKED_AT = "asked_at"


def asked_details(asked_at: dt.datetime | None) -> Mapping[str, Any]:
    """Return the details of a ledger entry that say when its release was asked for; nothing if nobody knows."""
    return {} if asked_at is None else {_ASKED_AT: asked_at.astimezone(dt.UTC).isoformat()}


def check_not_superseded(registry: Registry, entries: Iterable[LedgerEntry], *, release_id: str) -> None:
    """Raise ``IllegalMoveError`` if ``release_id`` made a run current, and another release did so since.

    A release that undid itself was not superseded: it may be carried out after all.
    """
    last = last_change(registry)
    made = [entry for entry in of_release(entries, release_id) if _makes_current(entry)]
    if not made or last is None or _is_of(last, release_id):
        return
    if (last.generation or 0) <= (made[-1].generation or 0):
        return  # it found its run current already, made so by the release before
    raise IllegalMoveError(
        f"release {release_id!r} was carried out at generation {made[-1].generation}, and release {last.release_id!r} "
        f"made {last.run_id or 'no run'} current since: a repeated or cleared one moves nothing; start a new one"
    )


def check_not_outdated(
    registry: Registry, entries: Sequence[LedgerEntry], *, release_id: str, asked_at: dt.datetime
) -> None:
    """Raise ``OutdatedReleaseError`` if what is current was asked for later than ``release_id`` was.

    So a cleared DAG run of last week, or a backfill of last year, releases nothing by accident; one that only waited in
    the queue behind a release asked for before it does.  A change by hand was asked for when it was made.

    Args:
        registry: the desired state now.
        entries: the whole ledger.
        release_id: the release that would like to change it.
        asked_at: when it was asked for.
    """
    last = last_change(registry)
    if last is None or _is_of(last, release_id):
        return
    theirs = _asked_at(entries, last)
    if asked_at >= theirs:
        return
    raise OutdatedReleaseError(
        f"release {release_id!r} was asked for at {_utc(asked_at)}; {last.run_id or 'no run'} is current by release "
        f"{last.release_id!r}, asked for later, at {_utc(theirs)}: an older release that is cleared, repeated or made up "
        "for moves nothing. To release a run all the same, trigger a new DAG run, and name the run in run_id"
    )


def _asked_at(entries: Sequence[LedgerEntry], change: LedgerEntry) -> dt.datetime:
    """Return when the release that made ``change`` was asked for; where nothing says so, when it made it."""
    for entry in entries:
        if _is_of(change, entry.release_id) and _ASKED_AT in entry.details:
            return dt.datetime.fromisoformat(entry.details[_ASKED_AT])
    return change.at


def _is_of(change: LedgerEntry, release_id: str) -> bool:
    """Whether ``release_id`` made ``change``, or undid its own."""
    return change.release_id in {release_id, put_back_id(release_id)}


def _makes_current(entry: LedgerEntry) -> bool:
    return entry.event is Event.COMMITTED and entry.mode == "primary"


def _utc(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
