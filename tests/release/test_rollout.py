"""PREPARE, COMMIT, SWITCH, PROVE: each step repeats safely, and the way back lands on the run from before."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_release import fleet, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.errors import (
    GateMissingError,
    GenerationConflictError,
    IllegalMoveError,
    InvalidInputError,
    LatchedError,
    ReplicaRefusedError,
    ReplicaUnreachableError,
    RunNotFoundError,
)
from model_release.ledger import Event, LedgerEntry, served_at
from model_release.phases import Phase, record
from model_release.registry import set_latch
from model_release.rollout import Move
from tests.fake_replicas import NOW
from tests.release.world import LATER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_goes_through_all_four_steps(world: World) -> None:
    """Prepared everywhere, committed once, served everywhere, and only then in the ledger as released."""
    done = world.release("run-a", "r1")
    assert done.changed
    assert [replica.prepared for replica in world.fleet] == [["run-a"], ["run-a"]]
    assert [replica.models().workers[0].current for replica in world.fleet] == ["run-a", "run-a"]
    assert [entry.event for entry in world.ledger.read()] == [Event.GATE_DECIDED, Event.COMMITTED, Event.RELEASED]


def test_a_replica_that_can_not_load_the_run_stops_it_before_anything_changes(world: World) -> None:
    """One refusal in PREPARE: registry and ledger stay as they are, and the refusal says who and why."""
    world.release("run-a", "r1")
    before = world.store.read()
    world.fleet[1].refuses.add("run-b")
    with pytest.raises(ReplicaRefusedError, match="fails its hashes") as caught:
        rollout.prepare(world.fleet, Move(run_id="run-b", release_id="r2"))
    assert caught.value.replica == "http://replica-2"
    assert world.store.read() == before


def test_a_refusal_is_told_before_an_outage(world: World) -> None:
    """No retry helps while one replica says no, even if another one is down."""
    world.fleet[0].down = True
    with pytest.raises(ReplicaUnreachableError):
        rollout.prepare(world.fleet, Move(run_id="run-b", release_id="r2"))
    world.fleet[1].refuses.add("run-b")
    with pytest.raises(ReplicaRefusedError) as caught:
        rollout.prepare(world.fleet, Move(run_id="run-b", release_id="r2"))
    assert caught.value.__notes__ == ["also http://replica-1: connection refused"]


def test_nothing_is_committed_without_a_pass_of_the_gate(world: World) -> None:
    """No verdict, a FAIL, or a PASS for another run: not committed."""
    move = Move(run_id="run-a", release_id="r1")
    with pytest.raises(GateMissingError, match="never judged"):
        world.commit(move)
    world.gate(move, "fail")
    with pytest.raises(GateMissingError, match="'fail'"):
        world.commit(move)
    world.gate(Move(run_id="run-b", release_id="r1"))
    with pytest.raises(GateMissingError):
        world.commit(move)
    assert world.current is None


def test_a_rejected_release_stays_out(world: World) -> None:
    """Clearing the reload task of a rejected release changes nothing."""
    move = Move(run_id="run-a", release_id="r1")
    world.gate(move)
    record(
        world.ledger,
        LedgerEntry(at=NOW, event=Event.REJECTED, release_id="r1", by="gate", run_id="run-a", reason="no"),
    )
    with pytest.raises(IllegalMoveError, match="rejected: committed can't follow"):
        world.commit(move)


def test_a_commit_builds_on_the_generation_the_gate_decided_on(world: World) -> None:
    """Two releases at once: one wins, the other is told, and has changed nothing."""
    one, two = Move(run_id="run-a", release_id="r1"), Move(run_id="run-b", release_id="r2")
    world.gate(one)
    world.gate(two)
    world.commit(two)
    with pytest.raises(GenerationConflictError, match="at generation 1, expected 0"):
        world.commit(one)
    assert world.current == "run-b"
    assert world.phase("r1") is Phase.PASSED


def test_a_repeated_commit_does_only_what_is_left(world: World) -> None:
    """A retry after a crash finds its own commit: same generation, no second entry."""
    world.release("run-a", "r1")
    move = Move(run_id="run-b", release_id="r2")
    world.gate(move)
    first = world.commit(move)
    again = world.commit(move, at=LATER)
    assert (first.changed, again.changed) == (True, False)
    assert again.registry == first.registry
    assert (first.previous_run_id, again.previous_run_id) == ("run-a", "run-a")
    assert [entry.event for entry in world.ledger.read()].count(Event.COMMITTED) == 2


def test_a_zombie_task_can_not_bring_an_old_run_back(world: World) -> None:
    """A release that was superseded, or put back, does not commit again however often its task wakes up."""
    world.release("run-a", "r1")
    world.release("run-b", "r2")
    with pytest.raises(IllegalMoveError, match="release 'r2' made run-b current since"):
        world.commit(Move(run_id="run-a", release_id="r1"))
    world.put_back("r2")
    with pytest.raises(GenerationConflictError):
        world.commit(Move(run_id="run-b", release_id="r2"))
    assert world.current == "run-a"


def test_a_lost_switch_is_seen_and_healed_by_the_watcher(world: World) -> None:
    """Disagreement names the replica, and ends when the replica looks at the registry itself."""
    world.release("run-a", "r1")
    move = Move(run_id="run-b", release_id="r2")
    world.gate(move)
    rollout.prepare(world.fleet, move)
    done = world.commit(move)
    world.fleet[1].down = True
    errors = rollout.switch(world.fleet, done.registry, move)
    assert [error.replica for error in errors] == ["http://replica-2"]
    world.fleet[1].down = False
    assert fleet.disagreements(world.fleet, done.registry) == [
        "http://replica-2: worker 1 is at generation 1, desired is 2"
    ]
    world.fleet[1].look()
    assert fleet.disagreements(world.fleet, done.registry) == []


def test_the_latch_stops_releases_but_no_way_back(world: World) -> None:
    """A rollback and a person go ahead; an automatic release does not."""
    world.release("run-a", "r1")
    world.release("run-b", "r2")
    world.store.update(lambda registry: set_latch(registry, reason="alert", by="loop", at=NOW))
    move = Move(run_id="run-c", release_id="r3")
    world.gate(move)
    with pytest.raises(LatchedError, match="alert"):
        world.commit(move)
    assert world.commit(Move(run_id="run-a", release_id="back"), cause="rollback").changed
    assert world.current == "run-a"


def test_what_a_crash_kept_from_the_ledger_is_written_later(world: World) -> None:
    """A writer that dies between registry and ledger leaves no gap in "what served at time T"."""
    world.release("run-a", "r1")

    class Dying(FileLedger):
        def append(self, entry: LedgerEntry) -> bool:
            raise KeyboardInterrupt(entry.event)

    move = Move(run_id="run-b", release_id="r2")
    world.gate(move)
    with pytest.raises(KeyboardInterrupt):
        rollout.commit(world.store, Dying(world.paths), move, by="test", at=NOW)
    assert world.current == "run-b"
    assert world.phase("r2") is Phase.PASSED
    assert world.put_back("r2") is not None
    commits = [(entry.run_id, entry.generation) for entry in world.ledger.read() if entry.event is Event.COMMITTED]
    assert commits == [("run-a", 1), ("run-b", 2)]
    found = served_at(world.ledger.read(), LATER)
    assert found is not None
    assert (found.run_id, found.event) == ("run-a", Event.PUT_BACK)


def test_a_run_nobody_registered_is_not_committed(world: World) -> None:
    """Only a run whose manifest is pinned can become current."""
    move = Move(run_id="run-x", release_id="r1")
    world.gate(move)
    with pytest.raises(RunNotFoundError, match="run-x"):
        world.commit(move)


def test_an_empty_fleet_is_an_error(world: World) -> None:
    """Nobody can't prepare, and nobody can't agree."""
    with pytest.raises(InvalidInputError, match="no replica"):
        rollout.prepare([], Move(run_id="run-a", release_id="r1"))
    with pytest.raises(InvalidInputError, match="no replica"):
        fleet.disagreements([], world.store.read())
