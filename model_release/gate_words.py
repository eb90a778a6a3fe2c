"""What a commit stands on: the gate's words on a run in a release, read from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from model_release.contract import Mode
from model_release.errors import GateMissingError, IllegalMoveError
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.phases import passed
from model_release.policy import Stage
from model_release.steps import rank
from model_release.verdict import Decision

_WHEN: Mapping[Stage, str] = {"offline": "before a trial", "online": "on trial"}


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


def passed_at(
    entries: Iterable[LedgerEntry],
    *,
    release_id: str,
    run_id: str,
    mode: Mode = "primary",
    rollout: float | None = None,
) -> int:
    """Return the generation that a commit of ``run_id`` must build on: that of the PASS it stands on.

    A run becomes current on the gate's last word, and only if the last word of *each* stage that spoke is PASS: a
    rejection on trial is not mended by files, nor one of files by a trial.  A first trial stands on the gate's last word
    before trials, whatever was said of an earlier trial: that is what it is to find out.

    While a trial of this release is under way, whatever follows stands on a PASS that was said since it began.

    Raises:
        GateMissingError: a word that counts was not PASS, or the gate never spoke.
        IllegalMoveError: the release has gone further than this step already.
    """
    own = of_release(entries, release_id)
    words = [entry for entry in own if entry.event is Event.GATE_DECIDED and entry.run_id == run_id]
    last = {stage_of(entry): entry for entry in words}  # of each stage, the later one wins
    needed = [word for stage, word in last.items() if mode == "primary" or stage == "offline"]
    for word in needed:
        if not passed(word):
            said = f"its last verdict {_WHEN[stage_of(word)]} is {word.details.get('verdict')!r}"
            raise _gate_missing(run_id, release_id, said)
    if not needed:
        raise _gate_missing(run_id, release_id, "it never judged it before a trial" if words else "it never judged it")
    latest = _word_on_step(own, words, mode=mode, rollout=rollout) or max(needed, key=words.index)
    if latest.generation is None:
        raise _gate_missing(run_id, release_id, "its verdict names no generation")
    return latest.generation


def stage_of(entry: LedgerEntry) -> Stage:
    """Return the stage of a gate's decision; the ledger named none before there were two."""
    return "online" if entry.details.get("stage") == "online" else "offline"


def _word_on_step(
    own: Sequence[LedgerEntry], words: Sequence[LedgerEntry], *, mode: Mode, rollout: float | None
) -> LedgerEntry | None:
    """Return the word on which the next step of a trial stands; None: no trial of this release is under way."""
    trial = _trial_under_way(own)
    if trial is None or trial.mode is None:
        return None
    since = [word for word in words if own.index(word) > own.index(trial)]
    where = f"{trial.mode} at {trial.rollout:g}" if trial.rollout is not None else trial.mode
    if not since:
        raise _gate_missing(str(trial.run_id), trial.release_id, f"it has not judged the trial under way, {where}")
    word = since[-1]
    if not passed(word):
        said = f"its last verdict {_WHEN[stage_of(word)]} is {word.details.get('verdict')!r}"
        raise _gate_missing(str(trial.run_id), trial.release_id, said)
    # a gate before trials that spoke since means that somebody cleared the release from there: it may begin anew
    if stage_of(word) == "online" and rank(mode, rollout) <= rank(trial.mode, trial.rollout):
        raise IllegalMoveError(
            f"release {trial.release_id!r} is at {where} since generation {trial.generation}: a repeated task does not "
            "take it back to an earlier step; to begin anew, clear the release from its gate on"
        )
    return word


def _trial_under_way(own: Iterable[LedgerEntry]) -> LedgerEntry | None:
    """Return the commit of the trial that this release has not ended, if there is one."""
    trial = None
    for entry in own:
        match entry.event:
            case Event.COMMITTED:
                trial = entry if entry.mode in {"shadow", "canary"} else None
            case Event.PUT_BACK | Event.TRIAL_ENDED:
                trial = None
            case _:
                pass
    return trial


def _gate_missing(run_id: str, release_id: str, said: str) -> GateMissingError:
    return GateMissingError(
        f"the gate did not pass run {run_id!r} for release {release_id!r}: {said}; run the quality gate first"
    )
