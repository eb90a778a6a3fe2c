"""A person's yes: what it stands on, and what became of it; read from the ledger alone.

An approval is for one decision: the generation at which the gate passed the run.  Whatever is judged after it needs a new
one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from model_release.errors import ApprovalMissingError
from model_release.ledger import Event, LedgerEntry, of_release

_ANSWERS = frozenset({Event.APPROVED, Event.DECLINED})


def approved(entries: Iterable[LedgerEntry], *, release_id: str, run_id: str, generation: int) -> LedgerEntry | None:
    """Return the entry by which a person approved of ``run_id``, as it was judged at ``generation``; None: nobody did.

    A word of the gate, or a refusal, that came later takes the approval back.
    """
    found = None
    for entry in of_release(entries, release_id):
        match entry.event:
            case Event.APPROVED if (entry.run_id, entry.generation) == (run_id, generation):
                found = entry
            case Event.GATE_DECIDED | Event.DECLINED | Event.REJECTED:
                found = None
            case _:
                pass
    return found


def check_approved(entries: Sequence[LedgerEntry], *, release_id: str, run_id: str, generation: int) -> None:
    """Raise ``ApprovalMissingError`` unless a person approved of what is about to be committed."""
    if approved(entries, release_id=release_id, run_id=run_id, generation=generation) is None:
        raise ApprovalMissingError(
            f"nobody approved of run {run_id!r} for release {release_id!r} as it was judged at generation {generation}: "
            "the task of the approval has to be answered by a person, marking it as successful does not count"
        )


def asked_since(entries: Iterable[LedgerEntry], *, release_id: str, run_id: str, generation: int) -> dt.datetime | None:
    """Return since when a person is asked this question; None: the question is not open, and has to be asked."""
    since = None
    for entry in of_release(entries, release_id):
        if entry.event is Event.APPROVAL_ASKED and (entry.run_id, entry.generation) == (run_id, generation):
            since = since or entry.at
        elif entry.event in {Event.GATE_DECIDED, Event.REJECTED, *_ANSWERS}:
            since = None
    return since
