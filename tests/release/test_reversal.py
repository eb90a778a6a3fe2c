"""The way back lands on the run from before, once, and leaves alone what others did since."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from model_release import fleet, reversal, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.ledger import Event, LedgerEntry
from model_release.rollout import Move
from tests.fake_replicas import NOW
from tests.release.world import LATER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_put_back_restores_the_run_from_before_at_a_later_generation(world: World) -> None:
    """Never a generation back: replicas fence on it."""
    world.release("run-a", "r1")
    committed = world.release("run-b", "r2")
    done = world.put_back("r2")
    assert done is not None
    assert (world.current, done.registry.generation) == ("run-a", committed.registry.generation + 1)
    assert rollout.switch(world.fleet, done.registry) == []
    assert fleet.disagreements(world.fleet, done.registry) == []
    assert reversal.conclude_put_back(world.ledger, done, release_id="r2", by="test", at=LATER)
    assert [entry.event for entry in world.ledger.read()][-2:] == [Event.PUT_BACK, Event.ROLLED_BACK]


def test_put_back_twice_is_put_back_once(world: World) -> None:
    """The second time finds it done and changes nothing."""
    world.release("run-a", "r1")
    world.release("run-b", "r2")
    first, second = world.put_back("r2"), world.put_back("r2")
    assert first is not None
    assert second is not None
    assert (first.changed, second.changed) == (True, False)
    assert second.registry == first.registry
    assert (first.previous_run_id, second.previous_run_id) == ("run-b", "run-b")
    assert [entry.event for entry in world.ledger.read()].count(Event.PUT_BACK) == 1


def test_put_back_of_a_first_release_leaves_no_run_current(world: World) -> None:
    """There is nothing to go back to, and a run withdrawn earlier is not it."""
    world.release("run-a", "r1")
    assert world.put_back("r1") is not None
    assert world.current is None
    world.release("run-b", "r2")
    assert world.put_back("r2") is not None
    assert world.current is None


def test_put_back_leaves_what_others_committed_since(world: World) -> None:
    """A late teardown of an old release does not touch the newer one."""
    world.release("run-a", "r1")
    world.release("run-b", "r2")
    world.release("run-c", "r3")
    assert world.put_back("r2") is None
    assert world.put_back("never-seen") is None
    assert world.current == "run-c"


def test_put_back_of_a_trial_ends_the_trial(world: World) -> None:
    """Users had the current run all the time and keep it."""
    world.release("run-a", "r1")
    move = Move(run_id="run-b", release_id="r2", mode="shadow", rollout=0.1, lease_seconds=60)
    world.gate(move)
    started = world.commit(move)
    assert started.registry.candidate is not None
    assert started.registry.candidate.lease_until == NOW + dt.timedelta(seconds=60)
    rollout.switch(world.fleet, started.registry, move)
    assert fleet.disagreements(world.fleet, started.registry) == []
    assert rollout.conclude(world.ledger, move, started.registry, by="test", at=NOW)
    committed, begun = (entry for entry in world.ledger.read() if entry.release_id == move.release_id and entry.mode)
    assert begun.event is Event.TRIAL_STARTED
    assert begun.previous_run_id == committed.previous_run_id == "run-a"
    done = world.put_back("r2")
    assert done is not None
    assert (done.registry.candidate, world.current) == (None, "run-a")
    assert [entry.event for entry in world.ledger.read()][-2:] == [Event.TRIAL_STARTED, Event.TRIAL_ENDED]


def test_a_rollback_without_a_name_never_lands_on_a_run_that_was_rolled_back(world: World) -> None:
    """A, B, C, back to B; back again goes to A, not to C."""
    for number, run_id in enumerate(("run-a", "run-b", "run-c"), start=1):
        world.release(run_id, f"r{number}")
    assert world.store.read().last_good_run_id() == "run-b"
    world.commit(Move(run_id="run-b", release_id="back-1"), cause="rollback")
    assert world.store.read().last_good_run_id() == "run-a"
    world.commit(Move(run_id="run-a", release_id="back-2"), cause="rollback")
    assert world.store.read().last_good_run_id() is None


def test_a_put_back_that_died_before_the_ledger_is_written_later(world: World) -> None:
    """The next call writes down what was done, once."""
    world.release("run-a", "r1")
    world.release("run-b", "r2")

    class Dying(FileLedger):
        def append(self, entry: LedgerEntry) -> bool:
            if entry.event is Event.PUT_BACK:
                raise KeyboardInterrupt
            return super().append(entry)

    with pytest.raises(KeyboardInterrupt):
        reversal.put_back(world.store, Dying(world.paths), release_id="r2", by="test", at=NOW, reason="broken")
    assert world.current == "run-a"
    done = world.put_back("r2")
    assert done is not None
    assert not done.changed
    assert [entry.event for entry in world.ledger.read()].count(Event.PUT_BACK) == 1
