"""Which old runs may go.  A pure rule: what is to be kept is named with its reason, everything else may go.

A run is kept if anything speaks for it.  Its age counts from the last that happened with it: published, registered,
named by the ledger, no longer current.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_release.artifact import FoundRun
from model_release.holds import holds
from model_release.ledger import Event, LedgerEntry
from model_release.open_releases import open_releases
from model_release.policy.retention import Retention
from model_release.registry import Registry

_ABOUT_KEEPING = frozenset({Event.HELD, Event.HOLD_ENDED, Event.PRUNED})  # nothing happened with the run


class Why(enum.StrEnum):
    """Why a run is kept; the first that holds is told."""

    CURRENT = "current"
    CANDIDATE = "on trial"
    PREVIOUS = "a rollback would go to it"
    HELD = "on hold"
    OPEN_RELEASE = "part of a release that has not ended"
    PAST_CURRENT = "was current not long ago"
    NEWEST = "among the newest"
    YOUNG = "something happened with it lately"


@dataclass(frozen=True)
class Plan:
    """What becomes of each run; every run that was found is in exactly one of the two.

    Attributes:
        kept: why, by run.
        doomed: the others, oldest first.
    """

    kept: Mapping[str, Why]
    doomed: tuple[FoundRun, ...]


def plan(
    retention: Retention,
    registry: Registry,
    entries: Sequence[LedgerEntry],
    found: Iterable[FoundRun],
    *,
    now: dt.datetime,
) -> Plan:
    """Say of every published run whether it is kept, and why."""
    runs = sorted(found, key=lambda run: (run.at, run.run_id))
    reasons = protected(retention, registry, entries)
    newest = {run.run_id for run in runs[-retention.newest :]}
    touched = _touched(registry, entries)
    kept: dict[str, Why] = {}
    for run in runs:
        last = max(run.at, touched.get(run.run_id, run.at))
        if run.run_id in reasons:
            kept[run.run_id] = reasons[run.run_id]
        elif run.run_id in newest:
            kept[run.run_id] = Why.NEWEST
        elif now - last < retention.age:
            kept[run.run_id] = Why.YOUNG
    return Plan(kept, tuple(run for run in runs if run.run_id not in kept))


def plan_staging(
    retention: Retention,
    registry: Registry,
    entries: Sequence[LedgerEntry],
    found: Iterable[FoundRun],
    *,
    now: dt.datetime,
) -> Plan:
    """Say the same of unfinished runs: those that somebody may still write to, or that are named anywhere, are kept."""
    runs = sorted(found, key=lambda run: (run.at, run.run_id))
    kept = {run.run_id: Why.YOUNG for run in runs if now - run.at < retention.staging_age}
    reasons = protected(retention, registry, entries)
    kept |= {run.run_id: reasons[run.run_id] for run in runs if run.run_id in reasons}
    return Plan(kept, tuple(run for run in runs if run.run_id not in kept))


def protected(retention: Retention, registry: Registry, entries: Sequence[LedgerEntry]) -> dict[str, Why]:
    """Return the runs that are kept however old they are, with the strongest reason for each."""
    reasons: dict[str, Why] = {}

    def keep(run_ids: Iterable[str | None], why: Why) -> None:
        for run_id in run_ids:
            if run_id is not None:
                reasons.setdefault(run_id, why)

    current, candidate = registry.current, registry.candidate
    keep([current.run_id if current else None], Why.CURRENT)
    keep([candidate.run_id if candidate else None], Why.CANDIDATE)
    keep([current.previous_run_id if current else None, registry.last_good_run_id()], Why.PREVIOUS)
    keep(holds(entries), Why.HELD)
    unfinished = open_releases(entries)
    named = [entry for entry in entries if entry.release_id in unfinished]
    keep((run_id for entry in named for run_id in (entry.run_id, entry.previous_run_id)), Why.OPEN_RELEASE)
    past = list(dict.fromkeys(one.run_id for one in registry.history))
    served_well = list(dict.fromkeys(one.run_id for one in registry.history if one.ended == "superseded"))
    keep([*past[: retention.past_currents], *served_well[: retention.past_currents]], Why.PAST_CURRENT)
    return reasons


def pruned_entry(
    run: FoundRun, *, generation: int, by: str, at: dt.datetime, manifest_sha256: str | None, reason: str
) -> LedgerEntry:
    """Return what the ledger is told of a run that went; its evaluation and its decisions stay."""
    return LedgerEntry(
        at=at,
        event=Event.PRUNED,
        release_id=f"prune:{run.run_id}",
        by=by,
        run_id=run.run_id,
        generation=generation,
        reason=reason,
        details={"bytes": run.size, "manifest_sha256": manifest_sha256},
    )


def _touched(registry: Registry, entries: Iterable[LedgerEntry]) -> dict[str, dt.datetime]:
    """Return when something last happened with each run that registry or ledger name."""
    last: dict[str, dt.datetime] = {}
    happened = [(run.run_id, run.registered_at) for run in registry.runs]
    happened += [(past.run_id, past.until) for past in registry.history]
    happened += [(one.run_id, one.at) for one in entries if one.run_id is not None and one.event not in _ABOUT_KEEPING]
    for run_id, at in happened:
        last[run_id] = max(at, last.get(run_id, at))
    return last
