"""What has been overtaken moves nothing: a release that is repeated, cleared or made up for must not bring an old run back.

A release is as old as the moment when it was asked for: waiting in a queue, a retry and a clear leave that as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_release.changes import last_change
from model_release.contract import utc_text
from model_release.errors import GenerationConflictError, OutdatedReleaseError
from model_release.identifiers import put_back_id
from model_release.ledger import Event, Ledger, LedgerEntry, of_release
from model_release.registry import Registry

_ASKED_AT = "asked_at"
_MOVES = frozenset({Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED, Event.LATCH_SET, Event.LATCH_CLEARED})
_MOST_MOVES = 3  # in one message, the last ones


def asked_details(asked_at: dt.datetime | None) -> Mapping[str, Any]:
    """Return the details of a ledger entry that say when its release was asked for; nothing if nobody knows."""
    return {} if asked_at is None else {_ASKED_AT: asked_at.astimezone(dt.UTC).isoformat()}


def check_not_superseded(registry: Registry, entries: Iterable[LedgerEntry], *, release_id: str) -> None:
    """Raise ``OutdatedReleaseError`` if ``release_id`` made a run current, and another release did so since.

    A release that undid itself was not superseded: it may be carried out after all.
    """
    last = last_change(registry)
    made = [entry for entry in of_release(entries, release_id) if _makes_current(entry)]
    if not made or last is None or _is_of(last, release_id):
        return
    if (last.generation or 0) <= (made[-1].generation or 0):
        return  # it found its run current already, made so by the release before
    raise OutdatedReleaseError(
        f"release {release_id!r} was carried out at generation {made[-1].generation}, and release {last.release_id!r} "
        f"made {last.run_id or 'no run'} current since: a repeated or cleared one moves nothing; start a new one"
    )


def check_no_later_trial(registry: Registry, entries: Iterable[LedgerEntry], *, release_id: str) -> None:
    """Raise ``OutdatedReleaseError`` if ``release_id``, a rollback, was carried out before a run went on trial.

    It would end that trial, which it was not asked for.
    """
    made = [entry for entry in of_release(entries, release_id) if _makes_current(entry)]
    trial = registry.candidate
    if not made or trial is None or trial.generation <= (made[-1].generation or 0):
        return
    raise OutdatedReleaseError(
        f"release {release_id!r} was carried out at generation {made[-1].generation}, and release {trial.release_id!r} put "
        f"{trial.run_id} on trial since: a repeated or cleared one moves nothing; start a new one"
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
        f"release {release_id!r} was asked for at {utc_text(asked_at)}; {last.run_id or 'no run'} is current by release "
        f"{last.release_id!r}, asked for later, at {utc_text(theirs)}: an older release that is cleared, repeated or made up "
        "for moves nothing. To release a run all the same, trigger a new DAG run, and name the run in run_id"
    )


def check_not_overtaken(
    registry: Registry, entries: Sequence[LedgerEntry], *, release_id: str, asked_at: dt.datetime | None
) -> None:
    """Raise ``OutdatedReleaseError`` if ``release_id`` was overtaken, in either way; ``asked_at`` None: nobody knows."""
    check_not_superseded(registry, entries, release_id=release_id)
    if asked_at is not None:
        check_not_outdated(registry, entries, release_id=release_id, asked_at=asked_at)


def expect_unmoved(registry: Registry, ledger: Ledger, generation: int | None) -> None:
    """Raise ``GenerationConflictError``, which says who moved it, unless ``registry`` is at ``generation``; None: any.

    Who won is read from the ledger; the very last change may stand in the registry alone yet.
    """
    if generation is None or registry.generation == generation:
        return
    moves = {entry.generation or 0: entry for entry in ledger.read() if entry.event in _MOVES}
    for entry in _in_registry(registry):
        moves.setdefault(entry.generation or 0, entry)
    since = [moves[number] for number in sorted(moves) if generation < number <= registry.generation]
    raise GenerationConflictError(
        expected=generation, actual=registry.generation, moved_by=", then ".join(map(_move, since[-_MOST_MOVES:]))
    )


def _in_registry(registry: Registry) -> Iterable[LedgerEntry]:
    """Return the last changes as the registry itself tells them."""
    last, trial = last_change(registry), registry.candidate
    if last is not None:
        yield last
    if trial is not None:
        yield LedgerEntry(
            at=trial.since,
            event=Event.COMMITTED,
            release_id=trial.release_id,
            by="registry",
            run_id=trial.run_id,
            generation=trial.generation,
            mode=trial.mode,
        )


def _move(entry: LedgerEntry) -> str:
    """Say what one change of the desired state was."""
    match entry.event:
        case Event.COMMITTED if entry.mode == "primary":
            did = f"made {entry.run_id} current"
        case Event.COMMITTED:
            did = f"put {entry.run_id} on trial"
        case Event.PUT_BACK:
            did = f"put {entry.run_id or 'no run'} back"
        case event:
            did = event.value.replace("_", " ")
    return f"release {entry.release_id!r} {did} at generation {entry.generation}"


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
