"""What others may rely on when they hear of a run or a release: read from ledger and registry, nothing made up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import Registry


@dataclass(frozen=True)
class Announcement:
    """Something to announce once: never before ``since``, and not again if the keys ``same`` of ``extra`` are the same."""

    extra: Mapping[str, Any]
    same: tuple[str, ...]
    since: dt.datetime

    def is_said_by(self, extra: Mapping[str, Any]) -> bool:
        """Whether an event with ``extra`` announced this already."""
        return all(extra.get(key) == self.extra[key] for key in self.same)


def of_run(registry: Registry, *, run_id: str, release_id: str, algorithm: str) -> Announcement | None:
    """Return what is said of a run that ``release_id`` registered; None if it was registered before, by another.

    No gate has judged it yet, and nobody gets it.
    """
    known = registry.registered(run_id)
    if known is None or known.release_id != release_id:
        return None
    extra = {
        "run_id": run_id,
        "release_id": release_id,
        "generation": registry.generation,
        "mode": None,
        "decision": None,
        "manifest_sha256": known.manifest_sha256,
        "algorithm": algorithm,
    }
    return Announcement(extra=extra, same=("run_id",), since=known.registered_at)


def of_release_verified(
    registry: Registry, entries: Iterable[LedgerEntry], *, run_id: str, release_id: str
) -> Announcement | None:
    """Return what is said of a verified release; None if ``run_id`` is not what users get: a trial is no release."""
    current = registry.current
    if current is None or current.run_id != run_id:
        return None
    own = of_release(entries, release_id)
    if _only_ended_a_trial(own, current.generation):
        return None
    extra = {
        "run_id": run_id,
        "release_id": release_id,
        "generation": current.generation,  # not the registry's: a latch raises that, and it is the same release
        "mode": "primary",
        "decision": _decision(own, run_id),
        "previous_run_id": current.previous_run_id,
        "rollback": any(entry.event is Event.ROLLED_BACK for entry in own),
    }
    return Announcement(extra=extra, same=("run_id", "release_id", "generation"), since=current.since)


def _only_ended_a_trial(own: Iterable[LedgerEntry], generation: int) -> bool:
    """Whether what a release committed came after the current run had become current: users got it before."""
    made = [entry for entry in own if entry.event is Event.COMMITTED and entry.mode == "primary"]
    return any((entry.generation or 0) > generation for entry in made)


def _decision(own: Iterable[LedgerEntry], run_id: str) -> Mapping[str, Any] | None:
    """Return the gate's last word on the run in this release; None: no gate was asked, as in a rollback."""
    words = [entry for entry in own if entry.event is Event.GATE_DECIDED and entry.run_id == run_id]
    if not words:
        return None
    last = words[-1]
    return {"verdict": last.details.get("verdict"), "policy_sha256": last.details.get("policy_sha256")}
