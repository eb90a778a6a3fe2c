"""Entries of a ledger, for tests of what follows from them."""

from __future__ import annotations

from model_release.contract import Mode
from model_release.ledger import Event, LedgerEntry
from tests.fake_replicas import NOW


def entry(
    event: Event,
    *,
    release_id: str = "r1",
    run_id: str = "run-b",
    verdict: str = "",
    stage: str = "",
    reason: str = "",
    mode: Mode | None = None,
    rollout: float | None = None,
    generation: int = 3,
) -> LedgerEntry:
    details = {name: value for name, value in (("verdict", verdict), ("stage", stage)) if value}
    return LedgerEntry(
        at=NOW,
        event=event,
        release_id=release_id,
        by="test",
        run_id=run_id,
        generation=generation,
        mode=mode,
        rollout=rollout,
        details=details,
        reason=reason,
    )


PASS = entry(Event.GATE_DECIDED, verdict="pass")
FAIL = entry(Event.GATE_DECIDED, verdict="fail", reason="worse")
PASS_ONLINE = entry(Event.GATE_DECIDED, verdict="pass", stage="online", generation=4)
FAIL_ONLINE = entry(Event.GATE_DECIDED, verdict="fail", stage="online", generation=4, reason="more errors")
TRIAL = [PASS, entry(Event.COMMITTED, mode="canary"), entry(Event.TRIAL_STARTED, mode="canary")]
