"""A fact is told once and its end is told once, whoever reads the ledger next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.ledger import Event, LedgerEntry
from model_release.reconcile_state import CANDIDATE, LAPSED, Fact
from model_release.standing import claim, compose, news, opened, standing, untold
from tests.fake_replicas import NOW
from tests.fakes import MemoryLedger

ONE, TWO = "http://replica-1", "http://replica-2"
DOWN, LATE = Fact(ONE, "unreachable", "connection refused"), Fact(ONE, "behind", "worker 1 is at generation 3")
LINK = "http://airflow.example/dags/d/runs/r"


class Job:
    """One DAG run after the other: look, write down, tell."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.runs = 0
        self.told: list[str] = []

    def look(
        self, *facts: Fact, replicas: tuple[str, ...] = (ONE, TWO), healed: Mapping[str, str] = {}
    ) -> list[LedgerEntry]:
        self.runs += 1
        entries = news(
            self.ledger.read(),
            facts,
            healed,
            replicas=replicas,
            release_id=f"reconcile:{self.runs}",
            by="test",
            at=self.now,
            generation=4,
        )
        for entry in entries:
            assert self.ledger.append(entry)
        return entries

    def tell(self) -> str | None:
        """Tell as the notifier does; return what was told."""
        entries = self.ledger.read()
        mine = [entry for entry in untold(entries) if self.ledger.append(claim(entry, by="test", at=self.now))]
        if not mine:
            return None
        self.told.append(compose(mine, entries, link=LINK).markdown)
        return self.told[-1]

    @property
    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(minutes=5 * self.runs)


@pytest.fixture
def job() -> Job:
    return Job()


def test_a_fact_is_told_once_and_so_is_its_end(job: Job) -> None:
    job.look(DOWN)
    said = job.tell()
    assert said is not None
    assert said.startswith("**⚠️ Not everywhere what is desired**\n❌ http://replica-1: connection refused")
    for _ in range(3):
        assert job.look(DOWN) == []
        assert job.tell() is None
    job.look()
    said = job.tell()
    assert said is not None
    assert said.startswith("**✅ Everywhere what is desired again**\n✅ http://replica-1: every worker serves")
    assert job.look() == []
    assert job.tell() is None
    job.look(DOWN)  # in the same words, but it is news again
    assert job.tell() is not None


def test_a_restarted_worker_with_another_number_is_the_same_fact(job: Job) -> None:
    job.look(LATE)
    assert job.look(Fact(ONE, "behind", "worker 2 is at generation 3")) == []


def test_another_problem_of_the_same_replica_is_told_and_one_that_alternates_is_not(job: Job) -> None:
    """Behind, then down, then behind: two facts, and no recovery before it serves what is desired."""
    for fact in (LATE, DOWN, LATE, DOWN):
        job.look(fact)
        job.tell()
    assert len(job.told) == 2
    job.look()
    assert job.tell() is not None
    assert standing(job.ledger.read()) == {}


def test_what_still_stands_is_in_the_message_about_what_is_new(job: Job) -> None:
    job.look(DOWN)
    job.tell()
    other = Fact(TWO, "degraded", "worker 5 is degraded: no file")
    job.look(DOWN, other)
    said = job.tell()
    assert said is not None
    assert said.index("no file") < said.index("connection refused")
    assert "(2026-01-05 12:05 UTC), told before" in said
    job.look(other)
    said = job.tell()
    assert said is not None
    assert said.startswith("**⚠️ Better, but not everywhere")


def test_a_message_that_nobody_claimed_is_told_by_the_next_run(job: Job) -> None:
    """The callback of the first run never came: killed, or its DAG processor was away."""
    job.look(DOWN)
    job.look(DOWN)
    said = job.tell()
    assert said is not None
    assert "connection refused" in said
    assert job.tell() is None


def test_two_tries_that_wrote_the_same_fact_tell_it_once(job: Job) -> None:
    """A zombie and its retry looked at the same time, and a worker was restarted in between."""
    fields = {"release_id": "reconcile:1", "by": "test", "generation": 4}
    first = opened([], [LATE], at=NOW, **fields)  # type: ignore[arg-type]
    again = opened([], [Fact(ONE, "behind", "worker 2 ...")], at=NOW + dt.timedelta(seconds=1), **fields)  # type: ignore[arg-type]
    for entry in first + again:
        assert job.ledger.append(entry)
    assert untold(job.ledger.read()) == first


def test_a_cleared_run_that_finds_it_again_tells_it_again(job: Job) -> None:
    """The same DAG run, in the same words, after it was over: news, since it stands again."""
    for number, found in enumerate([DOWN, None, DOWN]):
        entries = news(
            job.ledger.read(),
            [found] if found else [],
            {},
            replicas=[ONE],
            release_id="reconcile:1",
            by="test",
            at=NOW + dt.timedelta(minutes=number),
            generation=4,
        )
        assert all(job.ledger.append(entry) for entry in entries)
        assert job.tell() is not None


def test_two_who_tell_at_the_same_time_tell_it_once(job: Job) -> None:
    """Both read before either claims: the claim is one fact, whoever writes it."""
    job.look(DOWN)
    (seen_by_one,) = untold(job.ledger.read())
    (seen_by_two,) = untold(job.ledger.read())
    assert job.ledger.append(claim(seen_by_one, by="one", at=NOW))
    assert not job.ledger.append(claim(seen_by_two, by="two", at=NOW + dt.timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("fact", "replicas", "said"),
    [
        (DOWN, (ONE, TWO), "every worker serves generation 4"),
        (DOWN, (TWO,), "it is not among the replicas any more"),
        (Fact(CANDIDATE, LAPSED, "stands"), (ONE,), "the trial has ended, or its lease was renewed"),
        (Fact("recommendation_reconcile_state", "failed", "no registry"), (ONE,), "it works again"),
    ],
)
def test_how_it_ended_is_said_truthfully(job: Job, fact: Fact, replicas: tuple[str, ...], said: str) -> None:
    job.look(fact)
    (entry,) = job.look(replicas=replicas)
    assert (entry.event, entry.reason) == (Event.RECOVERED, f"{fact.subject}: {said}")


def test_healing_is_written_down_and_told_to_nobody(job: Job) -> None:
    (entry,) = job.look(healed={ONE: "worker 1 is at generation 3, desired is 4"})
    assert entry.event is Event.HEALED
    assert entry.reason == "http://replica-1: followed when told; before: worker 1 is at generation 3, desired is 4"
    assert job.tell() is None


def test_a_message_about_a_whole_fleet_is_cut_and_counted(job: Job) -> None:
    job.look(*(Fact(f"http://r{number}", "unreachable", "x" * 2000) for number in range(40)))
    said = job.tell()
    assert said is not None
    assert "... and 28 more in the ledger" in said
    assert len(said.encode()) < 10_000


@given(st.lists(st.tuples(st.frozensets(st.sampled_from([DOWN, LATE, Fact(TWO, "behind", "late")])), st.booleans())))
def test_what_stands_is_what_was_seen_last_and_nothing_is_told_twice(looks: list[tuple[frozenset[Fact], bool]]) -> None:
    """Whatever is seen, and whichever callbacks get lost: subjects that stand are those seen, each message is new."""
    job = Job()
    for seen, callback in looks:
        job.look(*seen)
        if callback:
            job.tell()
        stands = standing(job.ledger.read())
        assert {subject for subject, _ in stands} == {fact.subject for fact in seen}
        assert {(fact.subject, fact.kind) for fact in seen} <= set(stands)
    job.tell()
    claims = [entry.key for entry in job.ledger.read() if entry.event is Event.NOTIFIED]
    assert len(claims) == len(set(claims))
    told = sum(entry.event in {Event.DEVIATED, Event.RECOVERED} for entry in job.ledger.read())
    assert len(claims) == told
