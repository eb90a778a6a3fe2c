"""Where a release stands, and which move may follow: read from the ledger alone.

A retried, cleared or doubled task finds here what was done already, and does only the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from model_release.errors import GateMissingError, IllegalMoveError
from model_release.ledger import Event, Ledger, LedgerEntry, of_release
from model_release.verdict import Decision, Verdict


class Phase(enum.StrEnum):
    """Where a release stands."""

    OPEN = "open"  # nothing decided yet
    PASSED = "passed"  # the gate said PASS
    REJECTED = "rejected"
    FAILED = "failed"  # it broke before anything changed
    COMMITTED = "committed"  # desired, not yet proved
    PROVED = "proved"  # every worker of every replica agrees
    VERIFIED = "verified"  # and real requests were answered by it
    PUT_BACK = "put_back"  # the run from before is desired again


# An event outside this table (registered, notified, ...) moves nothing and may come at any time.
_REACHED: Mapping[Event, Phase] = {
    Event.REJECTED: Phase.REJECTED,
    Event.FAILED: Phase.FAILED,
    Event.COMMITTED: Phase.COMMITTED,
    Event.RELEASED: Phase.PROVED,
    Event.TRIAL_STARTED: Phase.PROVED,
    Event.VERIFIED: Phase.VERIFIED,
    Event.PUT_BACK: Phase.PUT_BACK,
    Event.TRIAL_ENDED: Phase.PUT_BACK,
    Event.ROLLED_BACK: Phase.PROVED,
}
_START = frozenset({Event.REJECTED, Event.FAILED, Event.COMMITTED})
_PROOF = frozenset({Event.RELEASED, Event.TRIAL_STARTED, Event.ROLLED_BACK})
_UNDO = frozenset({Event.PUT_BACK, Event.TRIAL_ENDED})  # always allowed: the registry knows best what is in force
MOVES: Mapping[Phase, frozenset[Event]] = {
    Phase.OPEN: _START | _UNDO,
    Phase.PASSED: _START | _UNDO,
    Phase.REJECTED: frozenset({Event.REJECTED, Event.FAILED}) | _UNDO,  # until the gate passes it after all
    Phase.FAILED: _START | _UNDO,
    Phase.COMMITTED: frozenset({Event.COMMITTED, Event.FAILED}) | _PROOF | _UNDO,
    Phase.PROVED: _START | _PROOF | _UNDO | {Event.VERIFIED},
    Phase.VERIFIED: _START | _PROOF | _UNDO | {Event.VERIFIED},
    Phase.PUT_BACK: _START | _UNDO | {Event.ROLLED_BACK},
}
_IN_FORCE = frozenset({Phase.COMMITTED, Phase.PROVED, Phase.VERIFIED, Phase.PUT_BACK})


def phase_of(entries: Iterable[LedgerEntry], release_id: str) -> Phase:
    """Return where a release stands after its last entry."""
    phase = Phase.OPEN
    for entry in of_release(entries, release_id):
        if entry.event is Event.GATE_DECIDED:
            phase = Phase.PASSED if _passed(entry) and phase not in _IN_FORCE else phase
        elif entry.event in {Event.FAILED, Event.REJECTED} and phase in _IN_FORCE:
            continue  # what is in force stays so until it is put back, however loudly something failed
        else:
            phase = _REACHED.get(entry.event, phase)
    return phase


def check_move(entries: Iterable[LedgerEntry], release_id: str, event: Event) -> None:
    """Raise ``IllegalMoveError`` unless ``event`` may follow where the release stands."""
    phase = phase_of(entries, release_id)
    if event in _REACHED and event not in MOVES[phase]:
        allowed = ", ".join(sorted(MOVES[phase]))
        raise IllegalMoveError(f"release {release_id!r} is {phase}: {event} can't follow; allowed are {allowed}")


def record(ledger: Ledger, entry: LedgerEntry) -> bool:
    """Append ``entry`` if the release may make that move; return whether it was news.

    Raises:
        IllegalMoveError: the transition table does not allow it.
    """
    entries = ledger.read()
    if any(known.key == entry.key for known in entries):
        return False
    check_move(entries, entry.release_id, entry.event)
    return ledger.append(entry)


def decision_entry(decision: Decision, *, release_id: str, by: str) -> LedgerEntry:
    """Return the ledger entry of a gate's decision; its generation is the one a commit must build on."""
    return LedgerEntry(
        at=decision.decided_at,
        event=Event.GATE_DECIDED,
        release_id=release_id,
        by=by,
        run_id=decision.run_id,
        previous_run_id=decision.against,
        generation=decision.generation,
        reason=decision.summary,
        details={"verdict": decision.verdict.value, "policy_sha256": decision.policy_sha256},
    )


def passed_at(entries: Iterable[LedgerEntry], *, release_id: str, run_id: str) -> int:
    """Return the generation at which the gate passed ``run_id`` for this release, if that was its last word.

    Raises:
        GateMissingError: its last word on this run was not PASS, or it never spoke.
    """
    words = [entry for entry in of_release(entries, release_id) if entry.event is Event.GATE_DECIDED]
    last = next((entry for entry in reversed(words) if entry.run_id == run_id), None)
    if last is None or last.generation is None or not _passed(last):
        said = f"its last verdict is {last.details.get('verdict')!r}" if last else "it never judged it"
        raise GateMissingError(
            f"the gate did not pass run {run_id!r} for release {release_id!r}: {said}; run the quality gate first"
        )
    return last.generation


def _passed(entry: LedgerEntry) -> bool:
    return entry.details.get("verdict") == Verdict.PASS.value
