"""What people are told: composed from the ledger, so that it says what happened and nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.ledger import Event, LedgerEntry
from model_release.messages import Message, compose

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
LINK = "http://airflow.example/dags/d/runs/r"


def entry(event: Event, **fields: Any) -> LedgerEntry:
    return LedgerEntry(at=NOW, event=event, release_id="r", by="test", **fields)


def told(*entries: LedgerEntry, failed: bool = False) -> Message:
    return compose(entries, None, release_id="r", failed=failed, link=LINK)


COMMITTED = entry(Event.COMMITTED, run_id="new", previous_run_id="old", generation=7, mode="primary")
RELEASED = entry(Event.RELEASED, run_id="new", generation=7, mode="primary")
VERIFIED = entry(Event.VERIFIED, run_id="new", generation=7)
FAILED = entry(Event.FAILED, reason="verify failed: 3 answers are wrong")
OUTDATED = entry(Event.FAILED, reason="register failed: asked for earlier", details={"error": "OutdatedReleaseError"})
LOST = entry(Event.FAILED, reason="model_reload failed: r2 won", details={"error": "GenerationConflictError"})
PUT_BACK = entry(
    Event.PUT_BACK, run_id="old", previous_run_id="new", generation=8, mode="primary", reason="not verified"
)
ROLLED_BACK = entry(Event.ROLLED_BACK, run_id="old", previous_run_id="new", generation=8, mode="primary")
TRIAL = (
    entry(Event.COMMITTED, run_id="new", generation=7, mode="shadow", rollout=0.1),
    entry(Event.TRIAL_STARTED, run_id="new", generation=7, mode="shadow", rollout=0.1),
)

PASSED = entry(Event.GATE_DECIDED, run_id="new", generation=7, details={"verdict": "pass", "stage": "online"})
REJECTED = (
    entry(Event.GATE_DECIDED, run_id="new", generation=7, details={"verdict": "fail", "stage": "online"}),
    entry(Event.REJECTED, run_id="new", generation=7, reason="more errors"),
)
ENDED = (
    entry(Event.TRIAL_ENDED, run_id="old", generation=8, mode="primary", reason="rejected"),
    entry(Event.ROLLED_BACK, run_id="old", generation=8, mode="primary", reason="rejected"),
)


@pytest.mark.parametrize(
    ("entries", "failed", "title", "good"),
    [
        ((COMMITTED, RELEASED, VERIFIED), False, "✅ Released: new", True),
        ((*TRIAL, VERIFIED), False, "🧪 On trial: new", True),
        ((entry(Event.REJECTED, run_id="new", reason="worse"),), True, "⛔ Rejected by the gate: new", False),
        ((FAILED,), True, "❌ Failed", False),
        ((OUTDATED,), True, "⏸️ Overtaken, nothing moved", False),
        ((LOST,), True, "⏸️ Another release went first", False),
        ((COMMITTED, RELEASED, VERIFIED, OUTDATED), True, "⏸️ Overtaken, nothing moved", False),
        ((COMMITTED, RELEASED, PUT_BACK, ROLLED_BACK, OUTDATED), True, "⏸️ Overtaken, nothing moved", False),
        ((COMMITTED, LOST, PUT_BACK, ROLLED_BACK), True, "↩️ Put back: old", False),
        ((COMMITTED, RELEASED, PUT_BACK, ROLLED_BACK, FAILED), True, "↩️ Put back: old", False),
        ((COMMITTED, ROLLED_BACK, VERIFIED), False, "↩️ Rolled back: new", False),
        ((COMMITTED,), True, "❌ Ended before it was proved: new", False),
        ((COMMITTED, RELEASED), True, "❌ Ended before it was verified: new", False),
        ((entry(Event.GATE_DECIDED, run_id="new"),), False, "📋 Judged, nothing released: new", True),
        ((*TRIAL, VERIFIED, *REJECTED), True, "⛔ Rejected on trial: new", False),
        ((*TRIAL, VERIFIED, *REJECTED, *ENDED), True, "⛔ Rejected on trial: new", False),
        ((*TRIAL, VERIFIED, *REJECTED, *ENDED), False, "⛔ Rejected on trial: new", False),
        ((*TRIAL, VERIFIED, *REJECTED, *ENDED, FAILED), True, "⛔ Rejected on trial: new", False),
        ((*TRIAL, FAILED, *ENDED), True, "↩️ Trial ended: old", False),
        ((*TRIAL, VERIFIED, PASSED), False, "🧪 On trial, passed by the gate: new", True),
        ((*TRIAL, VERIFIED, PASSED, COMMITTED, RELEASED, VERIFIED), False, "✅ Released: new", True),
        ((*REJECTED, *TRIAL, VERIFIED), False, "🧪 On trial: new", True),
        ((COMMITTED, RELEASED, VERIFIED), True, "✅ Released, then failed: new", False),
    ],
)
def test_the_title_says_how_it_ended(entries: tuple[LedgerEntry, ...], failed: bool, title: str, good: bool) -> None:
    message = told(*entries, failed=failed)
    assert (message.title, message.good) == (title, good)
    assert message.markdown.startswith(f"**{title}**")


def test_a_way_back_says_why() -> None:
    message = told(COMMITTED, RELEASED, PUT_BACK, ROLLED_BACK, FAILED, failed=True)
    assert "generation 8, before: `new`" in message.markdown
    assert "3 answers are wrong" in message.markdown


def test_a_rollback_says_why_once() -> None:
    """The reason that a person gave, although the last word is that it was verified."""
    back = ROLLED_BACK.model_copy(update={"reason": "customers complain"})
    assert told(COMMITTED, back, VERIFIED).markdown.count("customers complain") == 1
    put_back = ROLLED_BACK.model_copy(update={"reason": PUT_BACK.reason})
    assert told(COMMITTED, RELEASED, PUT_BACK, put_back, failed=True).markdown.count(PUT_BACK.reason) == 1


def test_a_trial_says_its_share() -> None:
    assert "shadow, rollout 0.1, generation 7" in told(*TRIAL, VERIFIED).markdown


def test_a_reason_is_never_endless() -> None:
    message = told(entry(Event.FAILED, reason="x" * 5000), failed=True)
    assert len(message.markdown) < 1000


def test_only_this_release_is_told() -> None:
    other = LedgerEntry(at=NOW, event=Event.FAILED, release_id="other", by="test", reason="another one's trouble")
    message = told(COMMITTED, RELEASED, VERIFIED, other)
    assert "another one's trouble" not in message.markdown
    assert message.title == "✅ Released: new"


def test_the_link_is_there() -> None:
    assert f"[DAG run]({LINK})" in told(VERIFIED).markdown
