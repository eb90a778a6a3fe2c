"""How a run becomes current, and goes back: PREPARE, COMMIT, SWITCH, PROVE.

(1) PREPARE on every replica: load, verify, warm up; switch nothing.  Any failure ends here, nothing has changed.
(2) COMMIT: compare-and-set the registry from the generation that the gate decided on to the next one.
(3) SWITCH: tell every replica; a lost message is no harm, replicas watch the registry too.
(4) PROVE: ``fleet.disagreements`` until every worker of every replica agrees; only then :func:`conclude`.
If (4) can't be reached in time, :func:`put_back` commits one more generation with the run from before.

Each step may be repeated: it finds what was done and does only the rest.  The Airflow operators, the recommendation
API (for calls by hand) and the command line all run these functions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from model_release import fleet
from model_release import registry as transitions
from model_release.contract import Mode, ReloadRequest
from model_release.errors import InvalidInputError, ReplicaError, RunNotFoundError
from model_release.fleet import Replica
from model_release.identifiers import put_back_id
from model_release.ledger import Event, Ledger, LedgerEntry, of_release
from model_release.phases import check_move, passed_at, record
from model_release.registry import Cause, Registry, RegistryStore


@dataclass(frozen=True, kw_only=True)
class Move:
    """One change of the desired state that a release asks for."""

    run_id: str
    release_id: str
    mode: Mode = "primary"
    rollout: float | None = None
    lease_seconds: int | None = None

    def request(self, *, prepare: bool = False, generation: int | None = None) -> ReloadRequest:
        """Return the call that prepares a replica for this move, or tells it that the move was committed."""
        return ReloadRequest(
            run_id=self.run_id,
            mode=self.mode,
            rollout=self.rollout,
            release_id=self.release_id,
            lease_seconds=self.lease_seconds,
            prepare=prepare,
            generation=generation,
        )


@dataclass(frozen=True)
class Commit:
    """What a commit did: ``changed`` is False if the registry desired it already."""

    registry: Registry
    changed: bool
    previous_run_id: str | None


def prepare(replicas: Sequence[Replica], move: Move) -> None:
    """Step 1: make every replica load and check the run without serving it.

    Raises:
        ReplicaRefusedError, ReplicaUnreachableError: at least one can't; see ``fleet.tell_all``.
    """
    fleet.tell_all(replicas, move.request(prepare=True))


def commit(
    store: RegistryStore,
    ledger: Ledger,
    move: Move,
    *,
    by: str,
    at: dt.datetime,
    cause: Cause = "release",
    gated: bool = True,
    expected_generation: int | None = None,
    reason: str = "",
) -> Commit:
    """Step 2: make ``move`` the desired state, and write it to the ledger.

    Args:
        store: where the registry is.
        ledger: where the entry goes; one that a crash lost is written by the next call.
        move: what is desired.
        by: who does it.
        at: the time now.
        cause: ``release`` respects the latch; ``rollback`` and ``person`` go ahead all the same.
        gated: whether a release needs the gate's PASS, and builds on the generation the gate decided on.
        expected_generation: the generation to build on where no gate decided; None: whatever is there.
        reason: why, for the ledger.

    Raises:
        GateMissingError: the gate did not pass this run for this release.
        GenerationConflictError: somebody else changed the desired state since.
        LatchedError, RunNotFoundError, InvalidInputError: see ``model_release.registry``.
        IllegalMoveError: see ``model_release.phases``.
    """
    entries = ledger.read()
    check_move(entries, move.release_id, Event.COMMITTED)
    if cause == "release" and gated:
        expected_generation = passed_at(entries, release_id=move.release_id, run_id=move.run_id)

    def transition(registry: Registry) -> Registry:
        if _is_desired(registry, move):
            return registry
        transitions.expect(registry, expected_generation)
        return _apply(registry, move, at=at, cause=cause)

    before, after = _update(store, ledger, transition)
    current = after.current
    ours = current is not None and current.release_id == move.release_id
    previous = current.previous_run_id if current and ours else _run_of(before)
    note = LedgerEntry(
        at=at,
        event=Event.COMMITTED,
        release_id=move.release_id,
        by=by,
        run_id=move.run_id,
        previous_run_id=previous,
        generation=after.generation,
        mode=move.mode,
        rollout=move.rollout,
        reason=reason,
    )
    _note(ledger, note)
    return Commit(registry=after, changed=after.generation != before.generation, previous_run_id=previous)


def switch(replicas: Sequence[Replica], registry: Registry, move: Move | None = None) -> list[ReplicaError]:
    """Step 3: tell every replica; return who did not acknowledge.  Whether that matters, step 4 finds out."""
    generation = registry.generation
    return fleet.tell(replicas, move.request(generation=generation) if move else ReloadRequest(generation=generation))


def conclude(
    ledger: Ledger, move: Move, registry: Registry, *, by: str, at: dt.datetime, cause: Cause = "release"
) -> bool:
    """Write to the ledger that step 4 was reached; return whether that was news."""
    if move.mode != "primary":
        event = Event.TRIAL_STARTED
    else:
        event = Event.ROLLED_BACK if cause == "rollback" else Event.RELEASED
    current = registry.current
    before = current.previous_run_id if current and move.mode == "primary" else _run_of(registry)
    entry = LedgerEntry(
        at=at,
        event=event,
        release_id=move.release_id,
        by=by,
        run_id=move.run_id,
        previous_run_id=before,
        generation=registry.generation,
        mode=move.mode,
        rollout=move.rollout,
    )
    return record(ledger, entry)


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

    before, after = _update(store, ledger, transition)
    changed = after.generation != before.generation
    last = _last_change(after)
    ended_trial = changed and before.current == after.current
    if ended_trial:
        last = None
    elif last is None or last.release_id not in {undone, release_id}:
        return None
    note = LedgerEntry(
        at=at,
        event=Event.TRIAL_ENDED if ended_trial else Event.PUT_BACK,
        release_id=release_id,
        by=by,
        run_id=_run_of(after),
        previous_run_id=last.previous_run_id if last else _run_of(after),
        generation=last.generation if last else after.generation,
        mode="primary",
        reason=reason,
    )
    _note(ledger, note)
    return Commit(registry=after, changed=changed, previous_run_id=note.previous_run_id)


def end_lapsed_trial(store: RegistryStore, ledger: Ledger, *, by: str, at: dt.datetime) -> Commit | None:
    """End the trial whose lease has run out by ``at``, whichever release it is of, and write it to the ledger.

    Returns:
        What is desired now; None if there is no such trial: its lease was renewed or its run promoted meanwhile.
    """

    def transition(registry: Registry) -> Registry:
        candidate = registry.candidate
        return transitions.end_trial(registry) if candidate is not None and candidate.expired(at) else registry

    before, after = _update(store, ledger, transition)
    if before.candidate is None or after.generation == before.generation:
        return None
    note = LedgerEntry(
        at=at,
        event=Event.TRIAL_ENDED,
        release_id=before.candidate.release_id,
        by=by,
        run_id=_run_of(after),
        previous_run_id=_run_of(after),
        generation=after.generation,
        mode="primary",
        reason="the lease ran out without being renewed",
    )
    _note(ledger, note)
    return Commit(registry=after, changed=True, previous_run_id=note.previous_run_id)


def conclude_put_back(ledger: Ledger, done: Commit, *, release_id: str, by: str, at: dt.datetime) -> bool:
    """Write to the ledger that every replica serves the run from before again; return whether that was news."""
    entry = LedgerEntry(
        at=at,
        event=Event.ROLLED_BACK,
        release_id=release_id,
        by=by,
        run_id=_run_of(done.registry),
        previous_run_id=done.previous_run_id,
        generation=done.registry.generation,
        mode="primary",
    )
    return record(ledger, entry)


def rollback_target(
    registry: Registry, entries: Sequence[LedgerEntry], *, release_id: str, run_id: str | None = None
) -> str:
    """Return the run that a rollback goes to: the one that is named, else the last good one.

    Asked again by the same rollback, it gives the same answer and goes no further back.

    Raises:
        RunNotFoundError: it is not registered, or there is none to go back to.
        InvalidInputError: it is current already.
    """
    commits = [entry for entry in of_release(entries, release_id) if entry.event is Event.COMMITTED]
    if commits and commits[-1].run_id is not None:
        return commits[-1].run_id
    target = run_id or registry.last_good_run_id()
    if target is None:
        raise RunNotFoundError("there is no earlier run that served well: name the run to go back to")
    if registry.registered(target) is None:
        known = ", ".join(run.run_id for run in registry.runs[:5]) or "none"
        raise RunNotFoundError(f"run {target!r} is not in the registry (newest known: {known})")
    if registry.current is not None and registry.current.run_id == target and registry.candidate is None:
        raise InvalidInputError(f"run {target!r} is current already: there is nothing to go back from")
    return target


def in_force(registry: Registry, release_id: str) -> bool:
    """Whether what ``release_id`` committed is desired now: as the current run, or as the candidate."""
    parts = (registry.current, registry.candidate)
    return any(part is not None and part.release_id == release_id for part in parts)


def _update(store: RegistryStore, ledger: Ledger, transition: transitions.Transition) -> tuple[Registry, Registry]:
    """Change the registry; return it before and after.

    The ledger first learns what it may lack of the change before this one, whose writer may have died between
    registry and ledger: so at most the very last change is ever missing there.
    """
    seen: list[Registry] = []

    def watched(registry: Registry) -> Registry:
        seen[:] = [registry]
        after = transition(registry)
        last = _last_change(registry)
        if after.generation != registry.generation and last is not None:
            _note(ledger, last)
        return after

    after = store.update(watched)
    return seen[0], after


def _last_change(registry: Registry) -> LedgerEntry | None:
    """Return the entry that the ledger should have about the run that is current, or was withdrawn last."""
    by = "recovered from the registry"
    current = registry.current
    if current is not None:
        return LedgerEntry(
            at=current.since,
            event=Event.COMMITTED,
            release_id=current.release_id,
            by=by,
            run_id=current.run_id,
            previous_run_id=current.previous_run_id,
            generation=current.generation,
            mode="primary",
        )
    if not registry.history:
        return None
    past = registry.history[0]
    return LedgerEntry(
        at=past.until,
        event=Event.PUT_BACK,
        release_id=past.release_id,
        by=by,
        previous_run_id=past.run_id,
        generation=past.until_generation,
        mode="primary",
    )


def _note(ledger: Ledger, entry: LedgerEntry) -> None:
    """Append ``entry`` unless the ledger has that change already."""
    changes = {Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED}
    for known in ledger.read():
        same = (known.generation, known.run_id) == (entry.generation, entry.run_id)
        ours = known.release_id == entry.release_id or put_back_id(known.release_id) == entry.release_id
        if known.event in changes and same and ours:
            return
    ledger.append(entry)


def _run_of(registry: Registry) -> str | None:
    return registry.current.run_id if registry.current else None


def _is_desired(registry: Registry, move: Move) -> bool:
    if move.mode == "primary":
        current = registry.current
        return current is not None and current.run_id == move.run_id and registry.candidate is None
    return fleet.trial_key(registry.candidate) == (move.run_id, move.mode, move.rollout, move.release_id)


def _apply(registry: Registry, move: Move, *, at: dt.datetime, cause: Cause) -> Registry:
    if move.mode == "primary":
        return transitions.promote(registry, run_id=move.run_id, release_id=move.release_id, at=at, cause=cause)
    if move.rollout is None:
        raise InvalidInputError(f"mode {move.mode!r} needs a rollout between 0 and 1")
    return transitions.start_trial(
        registry,
        run_id=move.run_id,
        mode=move.mode,
        rollout=move.rollout,
        release_id=move.release_id,
        at=at,
        lease_until=at + dt.timedelta(seconds=move.lease_seconds) if move.lease_seconds else None,
    )
