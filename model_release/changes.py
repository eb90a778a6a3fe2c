"""Registry and ledger in step: every change of the desired state is written to both, the registry first."""

from __future__ import annotations

from dataclasses import dataclass

from model_release import registry as transitions
from model_release.identifiers import put_back_id
from model_release.ledger import Event, Ledger, LedgerEntry
from model_release.registry import Registry, RegistryStore


@dataclass(frozen=True)
class Commit:
    """What a commit did: ``changed`` is False if the registry desired it already."""

    registry: Registry
    changed: bool
    previous_run_id: str | None


def in_force(registry: Registry, release_id: str) -> bool:
    """Whether what ``release_id`` committed is desired now: as the current run, or as the candidate."""
    parts = (registry.current, registry.candidate)
    return any(part is not None and part.release_id == release_id for part in parts)


def update(store: RegistryStore, ledger: Ledger, transition: transitions.Transition) -> tuple[Registry, Registry]:
    """Change the registry; return it before and after.

    The ledger first learns what it may lack of the change before this one, whose writer may have died between
    registry and ledger: so at most the very last change is ever missing there.
    """
    seen: list[Registry] = []

    def watched(registry: Registry) -> Registry:
        seen[:] = [registry]
        after = transition(registry)
        last = last_change(registry)
        if after.generation != registry.generation and last is not None:
            note_change(ledger, last)
        return after

    after = store.update(watched)
    return seen[0], after


def last_change(registry: Registry) -> LedgerEntry | None:
    """Return the entry that the ledger should have about the run that is current, or was withdrawn last."""
    by = "recovered from the registry"
    current = registry.current
    if current is not None:
        return LedgerEntry(
            at=current.since,
            event=Event.COMMITTED,
            release_id=current.release_id,
            by=by,
            run_id=current.run_id,
            previous_run_id=current.previous_run_id,
            generation=current.generation,
            mode="primary",
        )
    if not registry.history:
        return None
    past = registry.history[0]
    return LedgerEntry(
        at=past.until,
        event=Event.PUT_BACK,
        release_id=past.release_id,
        by=by,
        previous_run_id=past.run_id,
        generation=past.until_generation,
        mode="primary",
    )


def note_change(ledger: Ledger, entry: LedgerEntry) -> None:
    """Append ``entry`` unless the ledger has that change already."""
    changes = {Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED}
    for known in ledger.read():
        same = (known.generation, known.run_id) == (entry.generation, entry.run_id)
        ours = known.release_id == entry.release_id or put_back_id(known.release_id) == entry.release_id
        if known.event in changes and same and ours:
            return
    ledger.append(entry)


def run_of(registry: Registry) -> str | None:
    """Return the current run, if there is one."""
    return registry.current.run_id if registry.current else None
