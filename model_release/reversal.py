"""The way back: what a release changed is undone by one more change, never by forgetting it.

Each function may be repeated: it finds what was done and does only the rest.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from model_release import registry as transitions
from model_release.attendance import without
from model_release.changes import Commit, last_change, note_change, run_of, update
from model_release.contract import utc_text
from model_release.errors import IllegalMoveError, InvalidInputError, RunNotFoundError
from model_release.fencing import check_no_later_trial, check_not_superseded
from model_release.identifiers import put_back_id
from model_release.ledger import Event, Ledger, LedgerEntry, of_release, served_at
from model_release.phases import record
from model_release.registry import Registry, RegistryStore

_UNDONE = frozenset({Event.PUT_BACK, Event.TRIAL_ENDED})


def put_back(
    store: RegistryStore, ledger: Ledger, *, release_id: str, by: str, at: dt.datetime, reason: str
) -> Commit | None:
    """Undo what ``release_id`` committed, if it is still in force: one generation later, the run from before.

    Returns:
        What is desired now; None if the release left nothing to undo (never committed, or superseded since).
    """
    undone = put_back_id(release_id)

    def transition(registry: Registry) -> Registry:
        if registry.candidate is not None and registry.candidate.release_id == release_id:
            return transitions.end_trial(registry)
        if registry.current is None or registry.current.release_id != release_id:
            return registry
        target = registry.current.previous_run_id
        if target is None:
            return transitions.withdraw(registry, at=at)
        return transitions.promote(registry, run_id=target, release_id=undone, at=at, cause="rollback")

    before, after = update(store, ledger, transition)
    changed = after.generation != before.generation
    last = last_change(after)
    ended_trial = changed and before.current == after.current
    if ended_trial:
        last = None
    elif last is None or last.release_id not in {undone, release_id}:
        return None
    entry = LedgerEntry(
        at=at,
        event=Event.TRIAL_ENDED if ended_trial else Event.PUT_BACK,
        release_id=release_id,
        by=by,
        run_id=run_of(after),
        previous_run_id=last.previous_run_id if last else run_of(after),
        generation=last.generation if last else after.generation,
        mode="primary",
        reason=reason,
    )
    note_change(ledger, entry)
    return Commit(registry=after, changed=changed, previous_run_id=entry.previous_run_id)


def end_lapsed_trial(store: RegistryStore, ledger: Ledger, *, by: str, at: dt.datetime) -> Commit | None:
    """End the trial whose lease has run out by ``at``, whichever release it is of, and write it to the ledger.

    Returns:
        What is desired now; None if there is no such trial: its lease was renewed or its run promoted meanwhile.
    """

    def transition(registry: Registry) -> Registry:
        candidate = registry.candidate
        return transitions.end_trial(registry) if candidate is not None and candidate.expired(at) else registry

    before, after = update(store, ledger, transition)
    if before.candidate is None or after.generation == before.generation:
        return None
    entry = LedgerEntry(
        at=at,
        event=Event.TRIAL_ENDED,
        release_id=before.candidate.release_id,
        by=by,
        run_id=run_of(after),
        previous_run_id=run_of(after),
        generation=after.generation,
        mode="primary",
        reason="the lease ran out without being renewed",
    )
    note_change(ledger, entry)
    return Commit(registry=after, changed=True, previous_run_id=entry.previous_run_id)


def conclude_put_back(
    ledger: Ledger, done: Commit, *, release_id: str, by: str, at: dt.datetime, missing: Sequence[str] = ()
) -> bool:
    """Write to the ledger that every replica but ``missing`` serves the run from before; return whether that was news.

    Why stands there already, with the change that put it back: whoever proves it repeats that.
    """
    changes = [entry for entry in of_release(ledger.read(), release_id) if entry.event in _UNDONE]
    entry = LedgerEntry(
        at=at,
        event=Event.ROLLED_BACK,
        release_id=release_id,
        by=by,
        run_id=run_of(done.registry),
        previous_run_id=done.previous_run_id,
        generation=done.registry.generation,
        mode="primary",
        reason=changes[-1].reason if changes else "",
        details=without(missing),
    )
    return record(ledger, entry)


def rollback_target(
    registry: Registry,
    entries: Sequence[LedgerEntry],
    *,
    release_id: str,
    asked_at: dt.datetime,
    run_id: str | None = None,
    away_from: str | None = None,
) -> str | None:
    """Return the run that a rollback goes to: the one that is named, else the last good one.

    Away from a run on trial it goes to the current one, which ends the trial; None: the run to go away from is neither
    current nor on trial any more, so that nothing is left to do.  Asked again by the same rollback, it gives the same
    answer and goes no further back.

    Args:
        registry: the desired state now.
        entries: the whole ledger.
        release_id: the rollback that asks.
        asked_at: when a person asked for it; it may have waited since.
        run_id: the run that was named; None: none was.
        away_from: the run that must not serve; None: whatever is current.

    Raises:
        IllegalMoveError: no run is named and another one is current than when it was asked for; or this rollback was
            carried out and superseded since.
        RunNotFoundError: the run is not registered, or there is none to go back to.
        InvalidInputError: it is current already, or both ``run_id`` and ``away_from`` are named.
    """
    if run_id is not None and away_from is not None:
        raise InvalidInputError(
            f"run_id {run_id!r} and away_from {away_from!r} exclude each other: name where to go, or from"
        )
    check_not_superseded(registry, entries, release_id=release_id)
    check_no_later_trial(registry, entries, release_id=release_id)
    commits = [entry for entry in of_release(entries, release_id) if entry.event is Event.COMMITTED]
    if commits and commits[-1].run_id is not None:
        return commits[-1].run_id
    if away_from is not None and run_of(registry) != away_from:
        return run_of(registry) if _tried(registry) == away_from else None
    if run_id is None:
        _check_not_overtaken(registry, entries, asked_at=asked_at)
    target = run_id or registry.last_good_run_id()
    if target is None:
        raise RunNotFoundError("there is no earlier run that served well: name the run to go back to")
    if registry.registered(target) is None:
        known = ", ".join(run.run_id for run in registry.runs[:5]) or "none"
        raise RunNotFoundError(f"run {target!r} is not in the registry (newest known: {known})")
    if registry.current is not None and registry.current.run_id == target and registry.candidate is None:
        raise InvalidInputError(f"run {target!r} is current already: there is nothing to go back from")
    return target


def _tried(registry: Registry) -> str | None:
    return registry.candidate.run_id if registry.candidate else None


def _check_not_overtaken(registry: Registry, entries: Sequence[LedgerEntry], *, asked_at: dt.datetime) -> None:
    """Raise ``IllegalMoveError`` if the current run was made current after ``asked_at``."""
    last = last_change(registry)
    if last is None:
        return
    # the ledger may lack the very last change, which the registry knows
    then = served_at([*entries, last], asked_at)
    if then is not None and (then.generation or 0) >= (last.generation or 0):
        return
    raise IllegalMoveError(
        f"{_named(then.run_id if then else None)} was current when this rollback was asked for "
        f"({utc_text(asked_at)}), {_named(last.run_id)} is now, since {utc_text(last.at)} (release {last.release_id!r}): "
        "somebody went first. Nothing is changed. Look at what is served; to go back from there, ask again, or name "
        "the run to go back to"
    )


def _named(run_id: str | None) -> str:
    return "no run" if run_id is None else f"run {run_id!r}"
