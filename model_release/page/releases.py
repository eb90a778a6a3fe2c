"""Every release in a line: what it was about, how it ended and why.  Read from the ledger in one pass."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.identifiers import dag_run_of
from model_release.ledger import Event, LedgerEntry
from model_release.phases import passed

Kind = Literal["release", "rollback", "by_hand", "latch", "other"]
_MOST_MARKS = 40  # of one release; a DAG run that is cleared again and again has more


class Outcome(enum.StrEnum):
    """How a release ended, or where it stands."""

    OPEN = "open"
    JUDGED = "judged"  # the gate spoke, and did not say PASS
    PASSED = "passed"
    ASKED = "asked"  # a person is asked
    SWITCHING = "switching"  # desired, not yet proved
    ON_TRIAL = "on_trial"
    RELEASED = "released"
    REJECTED = "rejected"
    FAILED = "failed"
    DECLINED = "declined"
    PUT_BACK = "put_back"
    ROLLED_BACK = "rolled_back"
    TRIAL_ENDED = "trial_ended"
    LATCHED = "latched"
    UNLATCHED = "unlatched"
    NOTED = "noted"  # something was seen, nothing was moved


class Mark(Frozen):
    """One thing that happened in a release, for a picture."""

    at: AwareDatetime
    event: Event
    mode: str | None = None
    rollout: float | None = None
    verdict: str | None = None


class Release(Frozen):
    """One release.

    Attributes:
        dag_id, dag_run_id: where a DAG run made it.
        undone_at: when a later rollback went away from the run that it had released.
    """

    release_id: str
    kind: Kind
    outcome: Outcome
    run_id: str | None
    previous_run_id: str | None
    began: AwareDatetime
    last: AwareDatetime
    by: str
    why: str
    generation: int | None
    dag_id: str | None
    dag_run_id: str | None
    marks: tuple[Mark, ...]
    undone_at: AwareDatetime | None = None


# What an event makes of a release that has nothing in force; the rest is in _Story.
_BEFORE: Mapping[Event, Outcome] = {
    Event.REGISTERED: Outcome.OPEN,
    Event.APPROVAL_ASKED: Outcome.ASKED,
    Event.APPROVED: Outcome.PASSED,
    Event.REJECTED: Outcome.REJECTED,
    Event.FAILED: Outcome.FAILED,
    Event.DECLINED: Outcome.DECLINED,
}
_ALWAYS: Mapping[Event, Outcome] = {
    Event.COMMITTED: Outcome.SWITCHING,
    Event.TRIAL_STARTED: Outcome.ON_TRIAL,
    Event.RELEASED: Outcome.RELEASED,
    Event.PUT_BACK: Outcome.PUT_BACK,
    Event.TRIAL_ENDED: Outcome.TRIAL_ENDED,
}
_AGAINST = frozenset({Event.REJECTED, Event.FAILED, Event.DECLINED})
_OVER = frozenset({Event.PUT_BACK, Event.TRIAL_ENDED})
_SILENT = frozenset({Event.NOTIFIED})


@dataclass
class _Story:
    """A release as far as it was read."""

    first: LedgerEntry
    outcome: Outcome = Outcome.NOTED
    in_force: bool = False
    against: str = ""
    judged: bool = False
    committed: LedgerEntry | None = None
    about: LedgerEntry | None = None
    before: str | None = None
    last: LedgerEntry | None = None
    marks: list[Mark] = field(default_factory=list)
    latch: bool = False

    def read(self, entry: LedgerEntry) -> None:
        """Go on by one entry."""
        if entry.event in _SILENT:
            return
        self.last = entry
        self.marks.append(_mark(entry))
        event = entry.event
        # what a way back makes current is another run than the release was about
        if entry.run_id is not None and event not in _OVER and event is not Event.ROLLED_BACK:
            self.about = entry
            self.before = entry.previous_run_id or self.before
        if event is Event.GATE_DECIDED:
            self.judged = True
        if event in _AGAINST:
            self.against = self.against or entry.reason
        self.outcome = self._next(entry)
        if event is Event.COMMITTED:
            self.committed, self.in_force, self.against = entry, True, ""
        elif event in _OVER:
            self.in_force = False

    def _next(self, entry: LedgerEntry) -> Outcome:
        match entry.event:
            case Event.GATE_DECIDED if not self.in_force:
                return Outcome.PASSED if passed(entry) else Outcome.JUDGED
            case Event.ROLLED_BACK:
                # the proof of a way back says no more than the way back itself
                return self.outcome if self.outcome in {Outcome.PUT_BACK, Outcome.TRIAL_ENDED} else Outcome.ROLLED_BACK
            case Event.LATCH_SET | Event.LATCH_CLEARED if self.outcome is Outcome.NOTED:
                return Outcome.LATCHED if entry.event is Event.LATCH_SET else Outcome.UNLATCHED
            case event if event in _ALWAYS:
                return _ALWAYS[event]
            case event if event in _BEFORE and not self.in_force:
                return _BEFORE[event]
            case _:
                return self.outcome

    def told(self) -> Release:
        """Return the release."""
        last, about = self.last or self.first, self.about or self.committed or self.first
        dag_id, dag_run_id = dag_run_of(self.first.release_id, self.first.by) or (None, None)
        return Release(
            release_id=self.first.release_id,
            kind=self._kind(),
            outcome=self.outcome,
            run_id=about.run_id,
            previous_run_id=self.before or about.previous_run_id,
            began=self.first.at,
            last=last.at,
            by=self.first.by,
            why=self.against or last.reason,
            generation=last.generation,
            dag_id=dag_id,
            dag_run_id=dag_run_id,
            marks=tuple(self.marks[-_MOST_MARKS:]),
        )

    def _kind(self) -> Kind:
        if self.outcome in {Outcome.LATCHED, Outcome.UNLATCHED}:
            return "latch"
        if self.outcome is Outcome.NOTED:
            return "other"
        if self.first.by.startswith("api:"):
            return "by_hand"
        return "rollback" if self.committed is not None and not self.judged else "release"


def releases(entries: Iterable[LedgerEntry]) -> list[Release]:
    """Return every release, and whatever else has an id of its own in the ledger, the one that began last first."""
    stories: dict[str, _Story] = {}
    for entry in entries:
        story = stories.get(entry.release_id)
        if story is None:
            story = stories[entry.release_id] = _Story(entry)
        story.read(entry)
    found = [story.told() for story in stories.values() if story.marks]
    found.sort(key=lambda one: (one.began, one.release_id))
    return _undone(found)[::-1]


def _undone(found: list[Release]) -> list[Release]:
    """Return the releases, oldest first, those that a later rollback went away from marked as such."""
    told = list(found)
    released: dict[str, int] = {}
    for place, one in enumerate(found):
        if one.outcome is Outcome.RELEASED and one.run_id is not None:
            released[one.run_id] = place
        elif one.kind == "rollback" and one.outcome is Outcome.ROLLED_BACK and one.previous_run_id in released:
            away = released.pop(one.previous_run_id)
            told[away] = found[away].model_copy(update={"undone_at": one.last})
    return told


def _mark(entry: LedgerEntry) -> Mark:
    verdict = entry.details.get("verdict")
    return Mark(
        at=entry.at,
        event=entry.event,
        mode=entry.mode,
        rollout=entry.rollout,
        verdict=verdict if isinstance(verdict, str) else None,
    )
