"""How a run becomes current, and goes back: PREPARE, COMMIT, SWITCH, PROVE.

(1) PREPARE on every replica: load, verify, warm up; switch nothing.  Any failure ends here, nothing has changed.
(2) COMMIT: compare-and-set the registry from the generation that the gate decided on to the next one.
(3) SWITCH: tell every replica; a lost message is no harm, replicas watch the registry too.
(4) PROVE: ``attendance.attend`` until every worker of every replica agrees; only then :func:`conclude`.
If (4) can't be reached in time, :func:`model_release.reversal.put_back` commits one more generation with the run from before.

Each step may be repeated: it finds what was done and does only the rest.  The Airflow operators, the recommendation
API (for calls by hand) and the command line all run these functions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from model_release import fleet
from model_release import registry as transitions
from model_release.approval import check_approved
from model_release.attendance import without
from model_release.changes import Commit, in_force, note_change, run_of, update
from model_release.contract import Mode, ReloadRequest
from model_release.errors import InvalidInputError, ReplicaError, ReplicaUnreachableError
from model_release.fencing import (
    asked_details,
    check_no_later_trial,
    check_not_overtaken,
    check_not_superseded,
    expect_unmoved,
)
from model_release.fleet import Replica
from model_release.gate_words import passed_at
from model_release.ledger import Event, Ledger, LedgerEntry
from model_release.phases import check_move, record
from model_release.registry import Cause, Registry, RegistryStore


@dataclass(frozen=True, kw_only=True)
class Move:
    """One change of the desired state that a release asks for.

    ``asked_at`` is when somebody asked for the release; with ``approval`` a person has to have approved of it before the
    run becomes current.
    """

    run_id: str
    release_id: str
    mode: Mode = "primary"
    rollout: float | None = None
    lease_seconds: int | None = None
    asked_at: dt.datetime | None = None
    approval: bool = False

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


def check(store: RegistryStore, ledger: Ledger, move: Move, *, cause: Cause = "release") -> None:
    """Step 0: say at once what the commit would say after all the work: a release that was overtaken moves nothing.

    Raises:
        OutdatedReleaseError: see ``model_release.fencing``; a rollback has rules of its own.
    """
    if cause == "release":
        registry, entries = store.read(), ledger.read()
        check_not_overtaken(registry, entries, release_id=move.release_id, asked_at=move.asked_at)


def prepare(replicas: Sequence[Replica], move: Move, *, needed: int | None = None) -> list[ReplicaUnreachableError]:
    """Step 1: make every replica load and check the run without serving it; return those that may be missing.

    Raises:
        ReplicaRefusedError: at least one can't.
        ReplicaUnreachableError: fewer than ``needed`` (None: all) could be reached; see ``fleet.tell_all``.
    """
    return fleet.tell_all(replicas, move.request(prepare=True), needed=needed)


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
        IllegalMoveError: see ``model_release.phases``; or it was carried out and superseded since.
        ApprovalMissingError: a person was to be asked, and did not approve.
        OutdatedReleaseError: a release that was asked for later is in force.
    """
    entries = ledger.read()
    check_move(entries, move.release_id, Event.COMMITTED)

    def transition(registry: Registry) -> Registry:
        desired = _is_desired(registry, move, cause)
        if desired and in_force(registry, move.release_id):
            return registry  # done by an earlier try
        match cause:
            case "release":
                generation = _allowed(registry, entries, move, gated=gated)
            case "rollback":
                check_not_superseded(registry, entries, release_id=move.release_id)
                check_no_later_trial(registry, entries, release_id=move.release_id)
                generation = None
            case "person":
                generation = None
            case _:
                assert_never(cause)
        if desired:
            return registry  # by another release
        expect_unmoved(registry, ledger, generation if generation is not None else expected_generation)
        return _apply(registry, move, at=at, cause=cause)

    before, after = update(store, ledger, transition)
    current = after.current
    ours = current is not None and current.release_id == move.release_id
    previous = current.previous_run_id if current and ours else run_of(before)
    changed = after.generation != before.generation
    entry = LedgerEntry(
        at=at,
        event=Event.COMMITTED,
        release_id=move.release_id,
        by=by,
        run_id=move.run_id,
        previous_run_id=previous,
        generation=after.generation if changed else generation_of(after, move.mode),
        mode=move.mode,
        rollout=move.rollout,
        reason=reason,
        details=asked_details(move.asked_at),
    )
    note_change(ledger, entry)
    return Commit(registry=after, changed=changed, previous_run_id=previous)


def switch(replicas: Sequence[Replica], registry: Registry, move: Move | None = None) -> list[ReplicaError]:
    """Step 3: tell every replica; return who did not acknowledge.  Whether that matters, step 4 finds out."""
    generation = registry.generation
    return fleet.tell(replicas, move.request(generation=generation) if move else ReloadRequest(generation=generation))


def conclude(
    ledger: Ledger,
    move: Move,
    registry: Registry,
    *,
    by: str,
    at: dt.datetime,
    cause: Cause = "release",
    reason: str = "",
    missing: Sequence[str] = (),
) -> bool:
    """Write to the ledger that step 4 was reached, with ``reason`` for a rollback; return whether that was news.

    ``missing``: the replicas that were not there and, by the policy's quorum, need not be.
    """
    if move.mode != "primary":
        event = Event.TRIAL_STARTED
    else:
        event = Event.ROLLED_BACK if cause == "rollback" else Event.RELEASED
    current = registry.current
    before = current.previous_run_id if current and move.mode == "primary" else run_of(registry)
    entry = LedgerEntry(
        at=at,
        event=event,
        release_id=move.release_id,
        by=by,
        run_id=move.run_id,
        previous_run_id=before,
        generation=generation_of(registry, move.mode),
        mode=move.mode,
        rollout=move.rollout,
        reason=reason if event is Event.ROLLED_BACK else "",
        details=without(missing),
    )
    return record(ledger, entry)


def generation_of(registry: Registry, mode: Mode) -> int:
    """Return the generation at which what is desired in ``mode`` became so: a latch, or another trial, came later."""
    part = registry.current if mode == "primary" else registry.candidate
    return registry.generation if part is None else part.generation


def _allowed(registry: Registry, entries: Sequence[LedgerEntry], move: Move, *, gated: bool) -> int | None:
    """Return the generation that a release must build on; None: whatever is there."""
    check_not_overtaken(registry, entries, release_id=move.release_id, asked_at=move.asked_at)
    if not gated:
        return None
    generation = passed_at(
        entries, release_id=move.release_id, run_id=move.run_id, mode=move.mode, rollout=move.rollout
    )
    if move.approval and move.mode == "primary":
        check_approved(entries, release_id=move.release_id, run_id=move.run_id)
    return generation


def _is_desired(registry: Registry, move: Move, cause: Cause) -> bool:
    """Whether nothing is left to do.

    A release whose run is current already leaves the trial of another release alone: repeated or cleared, it is older.
    A person, and a rollback, who name the current run end the trial.
    """
    if move.mode == "primary":
        current, trial = registry.current, registry.candidate
        others = trial is not None and cause == "release" and trial.release_id != move.release_id
        return current is not None and current.run_id == move.run_id and (trial is None or others)
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
