"""What others may rely on when they hear of a run or a release: read from ledger and registry, nothing made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import Registry

# What makes two events the same one: a retried or cleared task announces it once.
RUN_IDENTITY = ("run_id",)
RELEASE_IDENTITY = ("run_id", "release_id", "generation")


def run_announcement(registry: Registry, *, run_id: str, release_id: str, algorithm: str) -> dict[str, Any]:
    """Return what is said of a run that was registered; no gate has judged it yet."""
    known = registry.registered(run_id)
    return {
        "run_id": run_id,
        "release_id": release_id,
        "generation": registry.generation,
        "mode": None,
        "decision": None,
        "manifest_sha256": known.manifest_sha256 if known else None,
        "algorithm": algorithm,
    }


def release_announcement(
    registry: Registry, entries: Iterable[LedgerEntry], *, run_id: str, release_id: str
) -> dict[str, Any] | None:
    """Return what is said of a verified release; None if ``run_id`` is not what users get: a trial is no release."""
    current = registry.current
    if current is None or current.run_id != run_id:
        return None
    own = of_release(entries, release_id)
    return {
        "run_id": run_id,
        "release_id": release_id,
        "generation": registry.generation,
        "mode": "primary",
        "decision": _decision(own, run_id),
        "previous_run_id": current.previous_run_id,
        "rollback": any(entry.event is Event.ROLLED_BACK for entry in own),
    }


def _decision(own: Iterable[LedgerEntry], run_id: str) -> Mapping[str, Any] | None:
    """Return the gate's last word on the run in this release; None: no gate was asked, as in a rollback."""
    words = [entry for entry in own if entry.event is Event.GATE_DECIDED and entry.run_id == run_id]
    if not words:
        return None
    last = words[-1]
    return {"verdict": last.details.get("verdict"), "policy_sha256": last.details.get("policy_sha256")}
