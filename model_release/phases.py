"""Where a release stands, and which move may follow: read from the ledger alone.

A retried, cleared or doubled task finds here what was done already, and does only the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

from model_release.errors import IllegalMoveError
from model_release.ledger import Event, Ledger, LedgerEntry, of_release
from model_release.verdict import Verdict


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
    Phase.COMMITTED: _START | _PROOF | _UNDO,
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
            phase = Phase.PASSED if passed(entry) and phase not in _IN_FORCE else phase
        elif entry.event in {Event.FAILED, Event.REJECTED} and phase in _IN_FORCE:
            continue  # what is in force stays so until it is put back, however loudly something failed
        else:
            phase = _REACHED.get(entry.event, phase)
    return phase


def may_stay(entries: Iterable[LedgerEntry], release_id: str) -> bool:
    """Return whether what a release put in force may stay when the release ends: if it was verified.

    A run on trial may only stay if, since then, neither the gate rejected it nor anything failed: a trial that nobody
    judges any more is ended.  A current run stays: whatever fails afterwards says nothing about it.
    """
    verified = trial = False
    for entry in of_release(entries, release_id):
        match entry.event:
            case Event.COMMITTED:
                verified, trial = False, entry.mode not in {None, "primary"}
            case Event.VERIFIED:
                verified = True
            case Event.REJECTED | Event.FAILED:
                verified = verified and not trial
            case Event.PUT_BACK | Event.TRIAL_ENDED:
                verified = False
            case _:
                pass
    return verified


def why_back(entries: Sequence[LedgerEntry], release_id: str) -> str:
    """Return why what a release put in force may not stay: what was said against it since, or that nothing proved it."""
    against = ""
    for entry in of_release(entries, release_id):
        match entry.event:
            case Event.COMMITTED:
                against = ""
            case Event.REJECTED | Event.FAILED:
                against = against or f"{entry.event}: {entry.reason}"
            case _:
                pass
    return against or f"the release ended {phase_of(entries, release_id)}, not verified"


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


def passed(entry: LedgerEntry) -> bool:
    """Return whether a gate's decision is PASS."""
    return entry.details.get("verdict") == Verdict.PASS.value
