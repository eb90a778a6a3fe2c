"""The gate's word, kept with its evidence and written to the ledger."""

from __future__ import annotations

from model_release.adapters.keeping import keep, keep_unseen
from model_release.gate_words import decision_entry
from model_release.ledger import Event, LedgerEntry
from model_release.phases import record
from model_release_airflow.context import Stores
from model_release_airflow.look import Look


def speak(stores: Stores, seen: Look, *, by: str, stopped: str | None = None) -> None:
    """Keep a decision for good, and write it down; ``stopped`` is why a run is rejected that might have been waited for.

    What passed goes on at once: its picture is drawn when the release is closed.
    """
    decision, passed = seen.decision, seen.decision.released and not stopped
    (keep_unseen if passed else keep)(stores.paths, decision, seen.evidence)
    spoken = decision_entry(decision, release_id=str(decision.release_id), by=by)
    record(stores.ledger, spoken)
    if not passed:
        why = f"{stopped}; {spoken.reason}" if stopped else spoken.reason
        rejected = LedgerEntry(**{**spoken.model_dump(), "event": Event.REJECTED, "reason": why})
        record(stores.ledger, rejected)
