"""Which releases have not ended, read from the ledger."""

from __future__ import annotations

import datetime as dt

import pytest

from model_release.ledger import Event, LedgerEntry
from model_release.open_releases import last_released, open_releases
from tests.release.words import FAIL, FAIL_ONLINE, PASS, PASS_ONLINE, TRIAL, entry

REGISTERED = entry(Event.REGISTERED)
COMMITTED = entry(Event.COMMITTED, mode="primary")
RELEASED, VERIFIED = entry(Event.RELEASED, mode="primary"), entry(Event.VERIFIED)
NOTIFIED = entry(Event.NOTIFIED, reason="verified at 2026-01-01")
ASKED = entry(Event.NOTIFIED, reason="approval_asked at 2026-01-01")
BY_HAND = COMMITTED.model_copy(update={"by": "api:10.0.0.7"})


@pytest.mark.parametrize(
    ("events", "is_open"),
    [
        ([], False),
        ([REGISTERED], True),
        ([REGISTERED, PASS], True),
        ([REGISTERED, FAIL, entry(Event.REJECTED)], False),
        ([REGISTERED, PASS, COMMITTED], True),
        ([REGISTERED, PASS, COMMITTED, entry(Event.FAILED)], True),  # the way back follows
        ([REGISTERED, PASS, COMMITTED, entry(Event.FAILED), entry(Event.PUT_BACK)], True),
        ([REGISTERED, PASS, COMMITTED, entry(Event.PUT_BACK), entry(Event.ROLLED_BACK)], False),
        ([REGISTERED, PASS, COMMITTED, RELEASED], True),
        ([REGISTERED, PASS, COMMITTED, RELEASED, VERIFIED], False),
        ([*TRIAL], True),
        ([*TRIAL, VERIFIED], True),  # a trial goes on when its beginning was verified
        ([*TRIAL, VERIFIED, PASS_ONLINE, entry(Event.APPROVAL_ASKED), ASKED], True),
        ([*TRIAL, FAIL_ONLINE, entry(Event.REJECTED)], True),
        ([*TRIAL, FAIL_ONLINE, entry(Event.REJECTED), entry(Event.TRIAL_ENDED)], False),
        ([*TRIAL, entry(Event.DECLINED), entry(Event.TRIAL_ENDED)], False),
        ([*TRIAL, PASS_ONLINE, NOTIFIED], False),
        ([PASS, NOTIFIED], False),
        ([entry(Event.FAILED)], False),
        ([BY_HAND], False),
        ([entry(Event.DEVIATED), entry(Event.LATCH_SET), entry(Event.HEALED)], False),
    ],
)
def test_when_a_release_is_open(events: list[LedgerEntry], *, is_open: bool) -> None:
    """From its first step until it is known how it ended."""
    assert list(open_releases(events)) == (["r1"] if is_open else [])


def test_it_is_open_since_its_first_step() -> None:
    """And one that was cleared, since it began anew."""
    later = PASS.model_copy(update={"at": PASS.at + dt.timedelta(hours=1)})
    assert open_releases([REGISTERED, later]) == {"r1": REGISTERED.at}
    assert open_releases([REGISTERED, FAIL, NOTIFIED, later]) == {"r1": later.at}


def test_what_another_release_overtook_is_over() -> None:
    """Once somebody else changed what everybody gets; a trial of somebody else changes nothing."""
    waiting = [entry(Event.REGISTERED, release_id="old"), entry(Event.GATE_DECIDED, release_id="old", verdict="pass")]
    assert list(open_releases([*waiting, *TRIAL])) == ["old", "r1"]
    assert list(open_releases([*waiting, *TRIAL, COMMITTED])) == ["r1"]
    assert list(open_releases([*waiting, BY_HAND])) == []


def test_the_last_release() -> None:
    """Ways back do not count."""
    later = entry(Event.ROLLED_BACK).model_copy(update={"at": RELEASED.at + dt.timedelta(hours=1)})
    assert last_released([]) is None
    assert last_released([RELEASED, later]) == RELEASED.at
