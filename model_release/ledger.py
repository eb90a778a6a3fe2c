"""The ledger: what happened, who did it and why.  Append-only; answers "what served at time T"."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AwareDatetime, Field

from model_release.artifact import Frozen, RunId


class Event(enum.StrEnum):
    """What a ledger entry reports."""

    REGISTERED = "registered"
    GATE_DECIDED = "gate_decided"
    COMMITTED = "committed"  # the registry now desires this
    RELEASED = "released"  # proved: every worker of every replica serves it
    TRIAL_STARTED = "trial_started"
    TRIAL_ENDED = "trial_ended"
    REJECTED = "rejected"  # the gate said no; serving unchanged
    FAILED = "failed"  # something broke; serving unchanged or put back
    VERIFIED = "verified"  # real requests were answered by it
    PUT_BACK = "put_back"  # the registry desires the run from before again
    ROLLED_BACK = "rolled_back"  # proved: the older run serves again
    APPROVAL_ASKED = "approval_asked"  # a person is to say whether the run may become current
    APPROVED = "approved"
    DECLINED = "declined"  # by a person, or because nobody answered in time
    LATCH_SET = "latch_set"
    LATCH_CLEARED = "latch_cleared"
    NOTIFIED = "notified"
    DEVIATED = "deviated"  # something does not serve what is desired, and following did not heal it
    HEALED = "healed"  # a replica lagged, was told to follow, and serves what is desired
    RECOVERED = "recovered"  # what had deviated does so no more
    ALERT_ACTED = "alert_acted"  # a firing alert starts a rollback, or ends a trial
    ALERT_LEFT = "alert_left"  # a firing alert starts nothing; the reason says why
    ALERT_FIRED = "alert_fired"  # an alert about the data's quality began to fire
    ALERT_SILENCED = "alert_silenced"  # it repeats, and is silent for some hours
    ALERT_UNSILENCED = "alert_unsilenced"  # its silence is over, and it still fires
    ALERT_RECOVERED = "alert_recovered"  # what it was about is good again
    HELD = "held"  # a person keeps the run from being pruned
    HOLD_ENDED = "hold_ended"
    RESTORED = "restored"  # registry, ledger and runs come from a backup
    PRUNED = "pruned"  # its files are gone; what was measured of it stays


# What may be told of before anything was registered: a first DAG run whose data is not there, or bad, for example.
BEFORE_ANY_REGISTRY = frozenset(
    {
        Event.FAILED,
        Event.NOTIFIED,
        Event.DEVIATED,
        Event.RECOVERED,
        Event.ALERT_LEFT,
        Event.ALERT_FIRED,
        Event.ALERT_SILENCED,
        Event.ALERT_UNSILENCED,
        Event.ALERT_RECOVERED,
        Event.HELD,
        Event.HOLD_ENDED,
        Event.PRUNED,
    }
)
# Each of them is news whenever it happens, even in the same words.
_EVERY_TIME = frozenset(
    {
        Event.GATE_DECIDED,
        Event.REJECTED,
        Event.APPROVAL_ASKED,
        Event.APPROVED,
        Event.DECLINED,
        Event.DEVIATED,
        Event.HEALED,
        Event.RECOVERED,
        Event.HELD,
        Event.HOLD_ENDED,
        Event.PRUNED,
    }
)


class LedgerEntry(Frozen):
    """One line of ``release_ledger.jsonl``.

    ``run_id`` is the run the entry is about; on ``committed``, ``put_back`` and ``restored`` with mode ``primary`` it is
    the run current from then on (None: no run).
    """

    schema_version: Literal[1, 2] = 2  # 1 knew no holds and no pruning
    at: AwareDatetime
    event: Event
    release_id: str
    by: Annotated[str, Field(min_length=1)]
    run_id: RunId | None = None
    previous_run_id: RunId | None = None
    generation: Annotated[int, Field(ge=0)] | None = None
    mode: Literal["primary", "shadow", "canary"] | None = None
    rollout: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    reason: str = ""
    details: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str | None, int | None, str, dt.datetime | None]:
        """What makes two entries the same fact: a retried task reports it once.

        A gate that is asked again decides again, even if it says the same: its last word counts.  So does each time that
        something deviates, heals or recovers, that a run is held or not any more, and that one is pruned.
        """
        when = self.at if self.event in _EVERY_TIME else None
        return (self.event.value, self.release_id, self.run_id, self.generation, self.reason, when)


class Ledger(Protocol):
    """Where the entries are kept."""

    def append(self, entry: LedgerEntry) -> bool:
        """Write ``entry`` durably unless the same fact is there; return whether it was written."""

    def read(self) -> Sequence[LedgerEntry]:
        """Return all entries, oldest first; a damaged ledger raises ``StateCorruptError``."""


def of_release(entries: Iterable[LedgerEntry], release_id: str) -> list[LedgerEntry]:
    """Return the entries of one release, oldest first."""
    return [entry for entry in entries if entry.release_id == release_id]


def served_at(entries: Iterable[LedgerEntry], at: dt.datetime) -> LedgerEntry | None:
    """Return the change that was in force at ``at``: its ``run_id`` served then.  None: nothing yet."""
    changes = {Event.COMMITTED, Event.PUT_BACK, Event.RESTORED}
    commits = [entry for entry in entries if entry.event in changes and entry.mode == "primary"]
    return max((entry for entry in commits if entry.at <= at), key=lambda entry: entry.generation or 0, default=None)
