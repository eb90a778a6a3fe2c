"""Desired against observed state: what differs, what following heals, and what people have to hear of.

Healing is following: a lagging replica is told the generation of the registry, the one fenced call that can't change
what is desired.  Nothing here commits; what following does not heal is a fact for people.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_release.changes import last_change
from model_release.fleet import Deviation, Kind
from model_release.ledger import Event, LedgerEntry
from model_release.phases import Phase, phase_of
from model_release.registry import Candidate, Registry

CANDIDATE = "candidate"  # the subject of a fact about the registry's candidate
LAPSED = "lapsed"

_HEALED_BY_FOLLOWING = frozenset({Kind.BEHIND, Kind.RUN, Kind.TRIAL, Kind.DEGRADED})
# A replica that can't be asked, or would refuse for a good reason; and workers that are missing come up by themselves.
_BEYOND_FOLLOWING = frozenset({Kind.UNREACHABLE, Kind.REFUSED, Kind.UNREADABLE, Kind.AHEAD})
_CHANGES = frozenset({Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED})
_DONE = frozenset({Phase.PROVED, Phase.VERIFIED})


@dataclass(frozen=True)
class Fact:
    """Something that is not as desired; ``subject`` and ``kind`` make it the same fact again, ``text`` is for people."""

    subject: str
    kind: str
    text: str


def change_under_way(
    registry: Registry, entries: Sequence[LedgerEntry], *, now: dt.datetime, settle_seconds: float
) -> str | None:
    """Return which change made this generation, if it is recent and nobody has proved it yet: replicas may lag then.

    Args:
        registry: the desired state.
        entries: the ledger, read after the registry.
        now: the time now.
        settle_seconds: how long a release may take from its commit to its proof; after that it is taken for dead.
    """
    made = _made_by(registry, entries)
    if made is None or abs(now - made.at) >= dt.timedelta(seconds=settle_seconds):
        return None
    if phase_of(entries, made.release_id) in _DONE:
        return None
    return f"release {made.release_id!r} made generation {registry.generation} at {made.at:%H:%M:%S}Z, not proved yet"


def _made_by(registry: Registry, entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """Return the change that led to the registry's generation; the ledger may lack the very last one."""
    for entry in reversed(entries):
        if entry.event in _CHANGES and entry.generation == registry.generation:
            return entry
    trial = registry.candidate
    if trial is not None and trial.generation == registry.generation:
        return LedgerEntry(at=trial.since, event=Event.COMMITTED, release_id=trial.release_id, by="the registry")
    last = last_change(registry)
    return last if last is not None and last.generation == registry.generation else None


def expected(registry: Registry, now: dt.datetime) -> Registry:
    """Return what replicas should serve: a candidate whose lease ran out has dropped out of them by itself."""
    return registry.model_copy(update={"candidate": None}) if lapsed(registry, now) else registry


def lapsed(registry: Registry, now: dt.datetime) -> Candidate | None:
    """Return the candidate that stands in the registry although its lease has run out."""
    candidate = registry.candidate
    return candidate if candidate is not None and candidate.expired(now) else None


def to_tell(deviations: Iterable[Deviation]) -> dict[str, str]:
    """Return the replicas that following may heal, each with how it differs."""
    found: dict[str, list[Deviation]] = {}
    for deviation in deviations:
        found.setdefault(deviation.replica, []).append(deviation)
    return {
        replica: "; ".join(deviation.text for deviation in theirs)
        for replica, theirs in found.items()
        if any(deviation.kind in _HEALED_BY_FOLLOWING for deviation in theirs)
        and not any(deviation.kind in _BEYOND_FOLLOWING for deviation in theirs)
    }


def facts(
    registry: Registry, deviations: Iterable[Deviation], *, now: dt.datetime, settle_seconds: float
) -> list[Fact]:
    """Return what is not as desired after healing: one fact for each replica and kind, one for a candidate that stays.

    A lapsed candidate is ended by the replicas' watchers; only if it stays for ``settle_seconds`` is it a fact.
    """
    texts: dict[tuple[str, str], list[str]] = {}
    for deviation in deviations:
        texts.setdefault((deviation.replica, deviation.kind.value), []).append(deviation.text)
    found = [Fact(subject, kind, "; ".join(said)) for (subject, kind), said in texts.items()]
    candidate = lapsed(registry, now)
    if candidate is not None and candidate.lease_until is not None:
        since = now - candidate.lease_until
        if since >= dt.timedelta(seconds=settle_seconds):
            text = (
                f"run {candidate.run_id} of release {candidate.release_id!r} stands in the registry although its lease "
                f"ran out at {candidate.lease_until:%Y-%m-%d %H:%M:%S}Z: no replica's watcher has ended the trial"
            )
            found.append(Fact(CANDIDATE, LAPSED, text))
    return found
