"""What differs from the desired state, what following may heal, and what is a fact for people."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.errors import ReplicaRefusedError
from model_release.fleet import Deviation, Kind, observe
from model_release.ledger import Event, LedgerEntry
from model_release.reconcile_state import Fact, change_under_way, expected, facts, to_tell
from model_release.registry import Candidate, Current, Registry
from tests.fake_replicas import NOW, FakeReplica
from tests.fakes import MemoryRegistry

SETTLE = 300.0
CURRENT = Current(run_id="run-b", release_id="r2", since=NOW, generation=7, previous_run_id="run-a")
DESIRED = Registry(generation=7, current=CURRENT)
URL = "http://replica-1"


def entry(event: Event, *, release_id: str = "r2", generation: int | None = 7, at: dt.datetime = NOW) -> LedgerEntry:
    return LedgerEntry(at=at, event=event, release_id=release_id, by="test", generation=generation, mode="primary")


def later(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def trial(**changes: Any) -> Candidate:
    usual = {"run_id": "run-c", "mode": "shadow", "rollout": 0.1, "release_id": "r3", "since": NOW, "generation": 7}
    return Candidate.model_validate({**usual, **changes})


# A change under way


@pytest.mark.parametrize(
    ("entries", "seconds", "under_way"),
    [
        ([entry(Event.COMMITTED)], 10, True),
        ([entry(Event.COMMITTED)], SETTLE, False),  # whoever made it is dead: the state is still the one to follow
        ([entry(Event.COMMITTED)], -10, True),  # a clock that is ahead a little
        ([entry(Event.COMMITTED)], -SETTLE, False),  # a clock that is wrong may not stop the healing for ever
        ([entry(Event.COMMITTED), entry(Event.RELEASED)], 10, False),
        ([entry(Event.COMMITTED), entry(Event.RELEASED), entry(Event.VERIFIED)], 10, False),
        ([entry(Event.COMMITTED, generation=6), entry(Event.PUT_BACK)], 10, True),
        ([entry(Event.COMMITTED, generation=6), entry(Event.PUT_BACK), entry(Event.ROLLED_BACK)], 10, False),
        ([entry(Event.TRIAL_ENDED, release_id="r3")], 10, True),
        ([entry(Event.COMMITTED), entry(Event.RELEASED), entry(Event.COMMITTED, generation=8)], 10, True),
        ([], 10, True),  # committed to the registry a moment ago, not yet in the ledger
        ([], SETTLE, False),
        ([entry(Event.COMMITTED, release_id="r1", generation=5)], 10, True),
    ],
)
def test_a_recent_change_that_nobody_has_proved_is_under_way(
    entries: list[LedgerEntry], seconds: float, under_way: bool
) -> None:
    said = change_under_way(DESIRED, entries, now=later(seconds), settle_seconds=SETTLE)
    assert (said is not None) == under_way


def test_a_trial_that_the_ledger_lacks_is_under_way_too() -> None:
    registry = Registry(generation=8, current=CURRENT, candidate=trial(generation=8))
    said = change_under_way(registry, [], now=later(10), settle_seconds=SETTLE)
    assert said is not None
    assert "release 'r3' made generation 8" in said


def test_a_latch_is_no_change_that_replicas_need_time_for() -> None:
    registry = DESIRED.model_copy(update={"generation": 8})
    entries = [entry(Event.COMMITTED), entry(Event.RELEASED), entry(Event.LATCH_SET, generation=8)]
    assert change_under_way(registry, entries, now=later(1), settle_seconds=SETTLE) is None


# What following may heal


@pytest.mark.parametrize("kind", list(Kind))
def test_only_what_following_may_heal_is_told_to_follow(kind: Kind) -> None:
    """Nobody posts to a replica that can't be asked, can't read the registry, or is ahead of it."""
    healable = {Kind.BEHIND, Kind.RUN, Kind.TRIAL, Kind.DEGRADED}
    assert to_tell([Deviation(URL, kind, "it differs")]) == ({URL: "it differs"} if kind in healable else {})


def test_one_worker_ahead_keeps_its_replica_from_being_told() -> None:
    """It would refuse, and rightly: the registry may be a restored backup."""
    behind, ahead = Deviation(URL, Kind.BEHIND, "one"), Deviation(URL, Kind.AHEAD, "two")
    other = Deviation("http://replica-2", Kind.BEHIND, "three")
    assert to_tell([behind, ahead, other]) == {"http://replica-2": "three"}
    missing = Deviation(URL, Kind.WORKERS, "1 of 2 workers report")
    assert to_tell([behind, missing]) == {URL: "one; 1 of 2 workers report"}


def test_each_way_to_differ_has_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryRegistry()
    store.update(lambda _: DESIRED)
    replicas = {name: FakeReplica(store, url=f"http://{name}") for name in ("behind", "ahead", "down", "good", "rude")}
    for replica in replicas.values():
        replica.look()
    replicas["behind"].served = Registry(generation=6)
    replicas["ahead"].served = DESIRED.model_copy(update={"generation": 9})
    replicas["down"].down = True
    answer = FakeReplica.models

    def models(self: FakeReplica) -> Any:
        if self.url == "http://rude":
            raise ReplicaRefusedError("not you", replica=self.url, status=403, title="forbidden")
        return answer(self)

    monkeypatch.setattr(FakeReplica, "models", models)
    assert [(found.replica, found.kind) for found in observe(list(replicas.values()), DESIRED)] == [
        ("http://ahead", Kind.AHEAD),
        ("http://behind", Kind.BEHIND),
        ("http://down", Kind.UNREACHABLE),
        ("http://rude", Kind.REFUSED),
    ]


# What people have to hear of


def test_workers_of_one_replica_with_one_problem_are_one_fact() -> None:
    found = [Deviation(URL, Kind.BEHIND, "worker 1"), Deviation(URL, Kind.BEHIND, "worker 2")]
    found += [Deviation(URL, Kind.WORKERS, "2 of 3"), Deviation("http://replica-2", Kind.BEHIND, "worker 9")]
    assert facts(DESIRED, found, now=NOW, settle_seconds=SETTLE) == [
        Fact(URL, "behind", "worker 1; worker 2"),
        Fact(URL, "workers", "2 of 3"),
        Fact("http://replica-2", "behind", "worker 9"),
    ]


def test_a_lapsed_candidate_is_the_watchers_until_it_stays() -> None:
    """Replicas have dropped it by themselves: they differ in nothing; the registry is what lags."""
    candidate = trial(lease_until=later(60))
    registry = Registry(generation=7, current=CURRENT, candidate=candidate)
    assert expected(registry, later(59)).candidate == candidate
    assert expected(registry, later(60)).candidate is None
    assert facts(registry, [], now=later(60 + SETTLE - 1), settle_seconds=SETTLE) == []
    (fact,) = facts(registry, [], now=later(60 + SETTLE), settle_seconds=SETTLE)
    assert (fact.subject, fact.kind) == ("candidate", "lapsed")
    assert "run-c" in fact.text
    assert facts(registry.model_copy(update={"candidate": trial()}), [], now=later(9e6), settle_seconds=SETTLE) == []
