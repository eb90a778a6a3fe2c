"""Releases and the timeline of the page follow from the ledger, and stay small however long it is."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from model_release.errors import InvalidInputError
from model_release.ledger import Event, LedgerEntry
from model_release.page.releases import Outcome, releases
from model_release.page.timeline import MOST_LANES, History, timeline
from tests.fake_replicas import NOW
from tests.release.words import FAIL, FAIL_ONLINE, PASS, PASS_ONLINE, TRIAL, entry

MINUTE = dt.timedelta(minutes=1)
COMMITTED = entry(Event.COMMITTED, mode="primary")
RELEASED = [PASS, COMMITTED, entry(Event.RELEASED, mode="primary"), entry(Event.VERIFIED)]


def in_time(events: list[LedgerEntry]) -> list[LedgerEntry]:
    """Give each entry a minute of its own."""
    return [event.model_copy(update={"at": NOW + number * MINUTE}) for number, event in enumerate(events)]


@pytest.mark.parametrize(
    ("events", "kind", "outcome"),
    [
        ([entry(Event.REGISTERED)], "release", Outcome.OPEN),
        ([PASS], "release", Outcome.PASSED),
        ([FAIL], "release", Outcome.JUDGED),
        ([FAIL, entry(Event.REJECTED, reason="worse")], "release", Outcome.REJECTED),
        ([PASS, entry(Event.APPROVAL_ASKED)], "release", Outcome.ASKED),
        ([PASS, entry(Event.APPROVAL_ASKED), entry(Event.DECLINED)], "release", Outcome.DECLINED),
        ([PASS, COMMITTED], "release", Outcome.SWITCHING),
        (RELEASED, "release", Outcome.RELEASED),
        ([*RELEASED, entry(Event.NOTIFIED)], "release", Outcome.RELEASED),
        ([*RELEASED, entry(Event.FAILED, reason="the log was full")], "release", Outcome.RELEASED),
        (TRIAL, "release", Outcome.ON_TRIAL),
        ([*TRIAL, PASS_ONLINE], "release", Outcome.ON_TRIAL),
        ([*TRIAL, FAIL_ONLINE, entry(Event.REJECTED, reason="more errors")], "release", Outcome.ON_TRIAL),
        (
            [*TRIAL, entry(Event.REJECTED, reason="more errors"), entry(Event.TRIAL_ENDED), entry(Event.ROLLED_BACK)],
            "release",
            Outcome.TRIAL_ENDED,
        ),
        ([PASS, COMMITTED, entry(Event.PUT_BACK), entry(Event.ROLLED_BACK)], "release", Outcome.PUT_BACK),
        ([entry(Event.LATCH_SET), COMMITTED, entry(Event.ROLLED_BACK)], "rollback", Outcome.ROLLED_BACK),
        ([entry(Event.LATCH_SET)], "latch", Outcome.LATCHED),
        ([entry(Event.LATCH_CLEARED)], "latch", Outcome.UNLATCHED),
        ([entry(Event.ALERT_ACTED)], "other", Outcome.NOTED),
    ],
)
def test_a_release_is_told_by_how_it_ended(events: list[LedgerEntry], kind: str, outcome: Outcome) -> None:
    (found,) = releases(in_time(events))
    assert (found.kind, found.outcome) == (kind, outcome)


def test_why_is_what_was_said_against_it_since_it_was_in_force() -> None:
    """Not what its first rejection said, before it was cleared and tried again; nor the words of the way back."""
    again = [entry(Event.REJECTED, reason="worse"), *TRIAL, entry(Event.REJECTED, reason="more errors")]
    judged = PASS.model_copy(update={"previous_run_id": "run-a"})
    (found,) = releases(in_time([judged, *again, entry(Event.TRIAL_ENDED, reason="back", run_id="run-a")]))
    assert found.why == "more errors"
    assert (found.run_id, found.previous_run_id) == ("run-b", "run-a")


def test_a_release_that_was_rolled_back_later_says_so() -> None:
    """The one that a rollback went away from; not the one that it went back to, nor one that came after."""

    def made(release_id: str, run_id: str, before: str) -> list[LedgerEntry]:
        fields = {"release_id": release_id, "run_id": run_id, "mode": "primary"}
        both = [PASS, COMMITTED, entry(Event.RELEASED)]
        return [one.model_copy(update={**fields, "previous_run_id": before}) for one in both]

    back = [
        entry(event, release_id="back", run_id="a", mode="primary").model_copy(update={"previous_run_id": "b"})
        for event in (Event.COMMITTED, Event.ROLLED_BACK)
    ]
    found = releases(in_time([*made("r1", "a", "x"), *made("r2", "b", "a"), *back, *made("r3", "b", "a")]))
    assert {one.release_id for one in found if one.undone_at is not None} == {"r2"}


def test_a_release_of_a_dag_run_names_it() -> None:
    made = [
        entry(Event.REGISTERED, release_id="pipeline:manual__2026-01-05T00:00:00+00:00").model_copy(
            update={"by": "airflow:pipeline/register (ann)"}
        ),
        entry(Event.REGISTERED, release_id="release-pipeline_x-0123456789ab").model_copy(
            update={"by": "airflow:pipeline/register"}
        ),
        entry(Event.REGISTERED, release_id="api:1").model_copy(update={"by": "api:10.0.0.1"}),
    ]
    found = {one.release_id: (one.dag_id, one.dag_run_id) for one in releases(made)}
    assert list(found.values()).count((None, None)) == 2
    assert found[made[0].release_id] == ("pipeline", "manual__2026-01-05T00:00:00+00:00")


LIFE = in_time(
    [
        entry(Event.COMMITTED, release_id="r1", run_id="a", mode="primary", generation=1),
        entry(Event.COMMITTED, release_id="r2", run_id="b", mode="canary", rollout=0.05, generation=2),
        entry(Event.COMMITTED, release_id="r2", run_id="b", mode="canary", rollout=0.25, generation=3),
        entry(Event.COMMITTED, release_id="r2", run_id="b", mode="primary", generation=4),
        entry(Event.LATCH_SET, release_id="r3", reason="alert"),
        entry(Event.COMMITTED, release_id="r3", run_id="a", mode="primary", generation=6),
        entry(Event.ROLLED_BACK, release_id="r3", run_id="a", mode="primary", generation=6),
        entry(Event.LATCH_CLEARED, release_id="r4"),
    ]
)


def test_lanes_say_what_served_was_tried_and_stopped() -> None:
    found = timeline(History.of(LIFE), start=NOW, end=NOW + 10 * MINUTE)
    assert [(one.run_id, one.until and (one.until - NOW) / MINUTE) for one in found.served] == [
        ("a", 3.0), ("b", 5.0), ("a", None),
    ]  # fmt: skip
    assert [(one.rollout, one.until and (one.until - NOW) / MINUTE) for one in found.tried] == [
        (0.05, 2.0),
        (0.25, 3.0),
    ]
    assert [((one.since - NOW) / MINUTE, one.until and (one.until - NOW) / MINUTE) for one in found.latched] == [(4, 7)]
    assert [one.release_id for one in found.releases] == ["r4", "r3", "r2", "r1"]


def test_a_stretch_shows_what_reaches_into_it() -> None:
    found = timeline(History.of(LIFE), start=NOW + 3.5 * MINUTE, end=NOW + 4.5 * MINUTE)
    assert [one.run_id for one in found.served] == ["b"]
    assert found.tried == ()
    assert [one.release_id for one in found.releases] == ["r3"]


def test_pages_follow_each_other_without_gap_or_repeat() -> None:
    """Also where several releases began in the same second, and while new ones are added in front."""
    many = [entry(Event.REGISTERED, release_id=f"r{number:02}") for number in range(25)]
    seen, after = [], None
    for page in range(10):
        late = [entry(Event.REGISTERED, release_id=f"late{page}").model_copy(update={"at": NOW + (page + 1) * MINUTE})]
        many += late
        found = timeline(History.of(many), start=NOW - MINUTE, end=NOW + 99 * MINUTE, after=after, limit=10)
        seen += [one.release_id for one in found.releases]
        after = found.after
        if after is None:
            break
    assert seen == ["late0", *(f"r{number:02}" for number in range(24, -1, -1))]


@pytest.mark.parametrize("after", ["x", "2026-01-05|", "", "|"])
def test_a_place_that_no_page_gave_is_refused(after: str) -> None:
    with pytest.raises(InvalidInputError, match="after"):
        timeline(History.of(LIFE), start=NOW, end=NOW + MINUTE, after=after)


def test_a_long_ledger_is_read_once_and_told_in_little() -> None:
    """10,000 entries: a page of it takes milliseconds, and is small."""
    entries = [
        one.model_copy(
            update={
                "at": NOW + number * MINUTE, "release_id": f"r{number // 5}", "run_id": f"run{number // 5}",
                "generation": number,
            }
        )
        for number, one in enumerate([*RELEASED, entry(Event.NOTIFIED)] * 2000)
    ]  # fmt: skip
    history = History.of(entries)
    began = time.process_time()
    found = timeline(history, start=NOW, end=NOW + 20_000 * MINUTE)
    assert time.process_time() - began < 0.5  # measured: 0.03 s
    assert found.cut
    assert found.total == 2000
    assert len(found.served) == MOST_LANES
    assert len(found.model_dump_json()) < 150_000
