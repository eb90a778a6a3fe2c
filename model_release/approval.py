"""A person's yes: what it stands on, and what became of it; read from the ledger alone.

An approval is for one decision: the gate's last word on the run, by which generation and when.  Another word, in the same
words and at the same generation even, needs another approval.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_release.errors import ApprovalMissingError, InvalidInputError
from model_release.ledger import Event, LedgerEntry, of_release

_DECISION = "decision"
_ANSWERS = frozenset({Event.APPROVED, Event.DECLINED})


@dataclass(frozen=True)
class Approval:
    """That a person is asked before everybody gets a run.

    Attributes:
        hours: how long they may think; nobody's answer is a no.
        assigned_users: who may answer, as Airflow's ``{"id": ..., "name": ...}``; empty: whoever may trigger the DAG.
        tell: whether the WeCom robot tells people that they are asked.
    """

    hours: float = 24.0
    assigned_users: tuple[Mapping[str, str], ...] = ()
    tell: bool = True

    def __post_init__(self) -> None:
        """Refuse what can't be waited for."""
        if not 0 < self.hours <= 24 * 14:
            raise InvalidInputError(f"an approval of {self.hours:g} hours: at least a moment, and at most 336 hours")


def decision_of(entries: Iterable[LedgerEntry], *, release_id: str) -> str | None:
    """Return what names the gate's last word in a release, until it speaks again; None: it has not spoken."""
    words = [entry for entry in of_release(entries, release_id) if entry.event is Event.GATE_DECIDED]
    return f"generation {words[-1].generation} at {words[-1].at.isoformat()}" if words else None


def decision_details(decision: str | None) -> Mapping[str, Any]:
    """Return the details of an entry that says which decision a person was asked about."""
    return {_DECISION: decision}


def approved(entries: Sequence[LedgerEntry], *, release_id: str, run_id: str) -> LedgerEntry | None:
    """Return the entry by which a person approved of ``run_id`` as the gate judged it last; None: nobody did.

    A refusal that came later takes the approval back.
    """
    found, decision = None, decision_of(entries, release_id=release_id)
    for entry in of_release(entries, release_id):
        match entry.event:
            case Event.APPROVED if entry.run_id == run_id and entry.details.get(_DECISION) == decision:
                found = entry
            case Event.DECLINED | Event.REJECTED:
                found = None
            case _:
                pass
    return found


def check_approved(entries: Sequence[LedgerEntry], *, release_id: str, run_id: str) -> None:
    """Raise ``ApprovalMissingError`` unless a person approved of what is about to be committed."""
    if approved(entries, release_id=release_id, run_id=run_id) is None:
        raise ApprovalMissingError(
            f"nobody approved of run {run_id!r} for release {release_id!r} as it was judged last: the task of the approval "
            "has to be answered by a person, after the last word of the gate; marking it as successful does not count"
        )


def asked_since(entries: Sequence[LedgerEntry], *, release_id: str, run_id: str) -> dt.datetime | None:
    """Return since when a person is asked about the gate's last word; None: the question has to be asked yet."""
    since, decision = None, decision_of(entries, release_id=release_id)
    for entry in of_release(entries, release_id):
        asked = entry.event is Event.APPROVAL_ASKED and entry.details.get(_DECISION) == decision
        if asked and entry.run_id == run_id:
            since = since or entry.at
        elif entry.event in {Event.REJECTED, *_ANSWERS}:
            since = None
    return since
