"""Past releases, judged again by another policy: what it would have said, and what became of them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from model_release.errors import InvalidInputError
from model_release.evidence import Evidence, Missing, NumberQuery, questions
from model_release.judge import judge
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.policy import AlertsPolicy, Policy, ReconciliationPolicy, Stage
from model_release.verdict import Verdict

_TELLING = {
    Event.VERIFIED: "released",
    Event.RELEASED: "released",
    Event.REJECTED: "rejected",
    Event.PUT_BACK: "rolled back",
    Event.ROLLED_BACK: "rolled back",
    Event.TRIAL_ENDED: "trial ended",
    Event.TRIAL_STARTED: "on trial",
    Event.FAILED: "failed",
}
_ORDER = (
    "rolled back",
    "rejected",
    "released",
    "trial ended",
    "failed",
    "on trial",
)  # the first that applies tells most


@dataclass(frozen=True)
class Past:
    """One decision of the past.

    Attributes:
        verdict: what was decided then.
        decided_at: when; it is judged again as of then.
        evidence: what it was computed from; a text: why that is not there.
    """

    release_id: str
    stage: Stage
    run_id: str
    verdict: Verdict
    decided_at: dt.datetime
    evidence: Evidence | str


@dataclass(frozen=True)
class Replayed:
    """A past decision beside the one that the policy makes today.

    ``now`` is None if it can't be made again: ``because`` says why.
    """

    past: Past
    became: str
    now: Verdict | None
    because: str

    def document(self) -> dict[str, object]:
        """Return all of it for machines."""
        return {
            "release_id": self.past.release_id,
            "stage": self.past.stage,
            "run_id": self.past.run_id,
            "decided_at": self.past.decided_at.isoformat(),
            "then": self.past.verdict.value,
            "now": None if self.now is None else self.now.value,
            "became": self.became,
            "because": self.because,
        }


def replay(policy: Policy, past: Sequence[Past], entries: Sequence[LedgerEntry]) -> list[Replayed]:
    """Judge past decisions again, each as of its own time, and say what the ledger knows of them."""
    return [_again(policy, one, became(entries, one.release_id)) for one in past]


def became(entries: Sequence[LedgerEntry], release_id: str) -> str:
    """Return what became of a release: ``released``, ``rejected``, ``rolled back``, ...

    A later release that goes back from this one's run counts as its rollback.
    """
    own = of_release(entries, release_id)
    known = {_TELLING[entry.event] for entry in own if entry.event in _TELLING}
    committed = [entry for entry in own if entry.event is Event.COMMITTED and entry.mode == "primary"]
    if committed and any(_goes_back_from(entry, committed[-1]) for entry in entries):
        known.add("rolled back")
    return next((word for word in _ORDER if word in known), "nothing yet")


def changes(replayed: Sequence[Replayed]) -> Counter[tuple[str, Verdict, Verdict, str]]:
    """Count what can be compared: by stage, verdict then, verdict now, and what became of the release."""
    return Counter((one.past.stage, one.past.verdict, one.now, one.became) for one in replayed if one.now is not None)


def _goes_back_from(entry: LedgerEntry, committed: LedgerEntry) -> bool:
    return (
        entry.event is Event.ROLLED_BACK
        and entry.release_id != committed.release_id
        and entry.previous_run_id == committed.run_id
        and entry.at >= committed.at
    )


def _again(policy: Policy, past: Past, outcome: str) -> Replayed:
    if isinstance(past.evidence, str):
        return Replayed(past, outcome, None, past.evidence)
    unasked = _unasked(policy, past.stage, past.evidence)
    if unasked is not None:
        return Replayed(past, outcome, None, f"its evidence does not answer what this policy asks: {unasked}")
    try:
        decision = judge(policy, past.evidence, past.decided_at, past.stage)
    except InvalidInputError as error:
        return Replayed(past, outcome, None, str(error))
    return Replayed(past, outcome, decision.verdict, decision.summary)


def _unasked(policy: Policy, stage: Stage, evidence: Evidence) -> str | None:
    """Return what the policy wants to know that nobody asked then; None: nothing."""
    online = policy.online if stage == "online" else None
    checks = policy.checks if online is None else online.checks
    for kind, field in ((AlertsPolicy, "alerts"), (ReconciliationPolicy, "reconciliation")):
        if getattr(evidence, field) == getattr(Evidence, field):
            unasked = next((check.name for check in checks if isinstance(check, kind)), None)
            if unasked is not None:
                return unasked
    if online is None or evidence.online is None or isinstance(evidence.online.trial, Missing):
        return None
    answered = {*evidence.online.histories, *evidence.online.numbers}
    asked = questions(online, evidence.online.trial)
    return next(
        (
            question.query if isinstance(question, NumberQuery) else question.selector
            for question in asked
            if question not in answered
        ),
        None,
    )
