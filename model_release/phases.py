"""Where a release stands, and which move may follow: read from the ledger alone.

A retried, cleared or doubled task finds here what was done already, and does only the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from model_release.contract import Mode
from model_release.errors import GateMissingError, IllegalMoveError
from model_release.ledger import Event, Ledger, LedgerEntry, of_release
from model_release.policy import Stage
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
    Phase.COMMITTED: _START | _PROOF | _UNDO,
    Phase.PROVED: _START | _PROOF | _UNDO | {Event.VERIFIED},
    Phase.VERIFIED: _START | _PROOF | _UNDO | {Event.VERIFIED},
    Phase.PUT_BACK: _START | _UNDO | {Event.ROLLED_BACK},
}
_WHEN: Mapping[Stage, str] = {"offline": "before a trial", "online": "on trial"}
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
        details={
            "verdict": decision.verdict.value,
            "stage": decision.stage,
            "policy_sha256": decision.policy_sha256,
        },
    )


def passed_at(entries: Iterable[LedgerEntry], *, release_id: str, run_id: str, mode: Mode = "primary") -> int:
    """Return the generation that a commit of ``run_id`` in ``mode`` must build on: that of the PASS it stands on.

    A trial stands on the gate's last word before trials, whatever was said of an earlier trial: that is what it is to
    find out.  A run becomes current on the gate's last word, and only if the last word of *each* stage that spoke is
    PASS: a rejection on trial is not mended by files, nor one of files by a trial.

    Raises:
        GateMissingError: a word that counts was not PASS, or the gate never spoke.
    """
    words = [
        entry
        for entry in of_release(entries, release_id)
        if entry.event is Event.GATE_DECIDED and entry.run_id == run_id
    ]
    last = {stage_of(entry): entry for entry in words}  # of each stage, the later one wins
    needed = [word for stage, word in last.items() if mode == "primary" or stage == "offline"]
    for word in needed:
        if not _passed(word):
            said = f"its last verdict {_WHEN[stage_of(word)]} is {word.details.get('verdict')!r}"
            raise _gate_missing(run_id, release_id, said)
    if not needed:
        raise _gate_missing(run_id, release_id, "it never judged it before a trial" if words else "it never judged it")
    latest = max(needed, key=words.index)
    if latest.generation is None:
        raise _gate_missing(run_id, release_id, "its verdict names no generation")
    return latest.generation


def stage_of(entry: LedgerEntry) -> Stage:
    """Return the stage of a gate's decision; the ledger named none before there were two."""
    return "online" if entry.details.get("stage") == "online" else "offline"


def _gate_missing(run_id: str, release_id: str, said: str) -> GateMissingError:
    return GateMissingError(
        f"the gate did not pass run {run_id!r} for release {release_id!r}: {said}; run the quality gate first"
    )


def _passed(entry: LedgerEntry) -> bool:
    return entry.details.get("verdict") == Verdict.PASS.value
