"""An older release moves nothing: which one is older is when it was asked for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from model_release import reversal, rollout
from model_release.errors import GenerationConflictError, IllegalMoveError, OutdatedReleaseError
from model_release.fencing import expect_unmoved
from model_release.ledger import Event
from model_release.registry import Cause
from model_release.rollout import Move
from tests.fake_replicas import NOW
from tests.release.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def minutes(count: float) -> dt.datetime:
    return NOW + dt.timedelta(minutes=count)


def release(world: World, run_id: str, release_id: str, *, asked: float, at: float, mode: str = "primary") -> None:
    """Judge ``run_id`` and commit it at ``at``, in a release that was asked for at ``asked`` minutes."""
    trial = {"mode": mode, "rollout": 0.1, "lease_seconds": 60} if mode != "primary" else {}
    move = Move(run_id=run_id, release_id=release_id, asked_at=minutes(asked), **trial)  # type: ignore[arg-type]
    world.gate(move)
    world.commit(move, at=minutes(at))


def test_a_release_that_waited_in_the_queue_is_not_old(world: World) -> None:
    """It was asked for before the one in front of it was carried out, but after that one was asked for."""
    release(world, "run-a", "r1", asked=0, at=10)
    release(world, "run-b", "r2", asked=5, at=20)
    assert world.current == "run-b"


def test_an_older_release_moves_nothing(world: World) -> None:
    """A cleared DAG run that was never carried out, or a backfill: neither the run nor a trial; the message says why."""
    release(world, "run-a", "r2", asked=5, at=10)
    for mode in ("primary", "shadow", "canary"):
        with pytest.raises(
            OutdatedReleaseError, match=r"'r1' was asked for at .*run-a is current by release 'r2'.*trigger a new"
        ):
            release(world, "run-b", "r1", asked=4.9, at=20, mode=mode)
    assert (world.current, world.store.read().candidate) == ("run-a", None)


def test_a_change_by_hand_was_asked_for_when_it_was_made(world: World) -> None:
    """Nobody wrote down when it was asked for."""
    release(world, "run-a", "r1", asked=0, at=1)
    world.commit(Move(run_id="run-c", release_id="by-hand"), cause="person", at=minutes(10))
    with pytest.raises(OutdatedReleaseError, match="'by-hand', asked for later"):
        release(world, "run-b", "r2", asked=9, at=20)
    release(world, "run-b", "r3", asked=11, at=20)
    assert world.current == "run-b"


def test_a_release_carried_out_and_overtaken_is_not_carried_out_again(world: World) -> None:
    """Not even with a fresh PASS; the current one may be repeated, and changes nothing."""
    release(world, "run-a", "r1", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6)
    with pytest.raises(IllegalMoveError, match="'r1' was carried out at generation 1"):
        release(world, "run-a", "r1", asked=0, at=20)
    generation = world.store.read().generation
    release(world, "run-b", "r2", asked=5, at=21)
    assert (world.current, world.store.read().generation) == ("run-b", generation)


def test_a_release_that_undid_itself_may_be_tried_again(world: World) -> None:
    """Cleared after the replicas were mended; but not once somebody else went first."""
    release(world, "run-a", "r1", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6)
    reversal.put_back(world.store, world.ledger, release_id="r2", by="test", at=minutes(7), reason="broken")
    assert world.current == "run-a"
    release(world, "run-b", "r2", asked=5, at=8)
    assert world.current == "run-b"


def test_what_put_itself_back_is_as_old_as_its_release(world: World) -> None:
    """A release that waited meanwhile is later than the failed one, although the way back came after it was asked for."""
    release(world, "run-a", "r1", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6)
    reversal.put_back(world.store, world.ledger, release_id="r2", by="test", at=minutes(30), reason="broken")
    release(world, "run-c", "r3", asked=10, at=31)
    assert world.current == "run-c"


def test_a_rolled_back_release_is_older_than_its_rollback(world: World) -> None:
    """Cleared after a person went back, it does not bring its run again."""
    release(world, "run-a", "r1", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6)
    back = Move(run_id="run-a", release_id="rollback", asked_at=minutes(40))
    world.commit(back, cause="rollback", at=minutes(41))
    with pytest.raises(IllegalMoveError):
        release(world, "run-b", "r2", asked=5, at=50)
    with pytest.raises(OutdatedReleaseError, match="'rollback'"):
        release(world, "run-c", "r3", asked=39, at=50)
    assert world.current == "run-a"


def test_when_it_was_asked_for_stands_in_the_ledger(world: World) -> None:
    """In UTC, with the commit."""
    release(world, "run-a", "r1", asked=5, at=6)
    (commit,) = [entry for entry in world.ledger.read() if entry.event is Event.COMMITTED]
    assert commit.details == {"asked_at": minutes(5).isoformat()}


@pytest.mark.parametrize("mode", ["primary", "shadow"])
def test_who_lost_is_told_who_won(world: World, mode: str) -> None:
    """Two releases whose gates decided on one generation: the second commit names the first, and moves nothing."""
    trial = {"mode": mode, "rollout": 0.1, "lease_seconds": 60} if mode != "primary" else {}
    loser = Move(run_id="run-a", release_id="r1", asked_at=minutes(9), **trial)  # type: ignore[arg-type]
    release(world, "run-c", "r0", asked=0, at=1)
    world.gate(loser)
    release(world, "run-b", "r2", asked=5, at=6, mode=mode)
    state = world.store.read()
    did = "made run-b current" if mode == "primary" else "put run-b on trial"
    with pytest.raises(GenerationConflictError, match=f"release 'r2' {did} at generation 2;"):
        world.commit(loser, at=minutes(10))
    assert world.store.read() == state


@pytest.mark.parametrize("mode", ["primary", "shadow"])
def test_who_won_is_known_before_the_ledger_knows(world: World, mode: str) -> None:
    """The winner may be between registry and ledger, or dead there."""
    release(world, "run-c", "r0", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6, mode=mode)
    world.paths.ledger.unlink()
    with pytest.raises(GenerationConflictError, match=r"release 'r2' .*run-b"):
        expect_unmoved(world.store.read(), world.ledger, 1)


def test_an_old_release_is_refused_before_any_replica_works(world: World) -> None:
    """Step 0 says what the commit would say; a rollback and a person keep their own rules."""
    release(world, "run-a", "r2", asked=5, at=10)
    old = Move(run_id="run-b", release_id="r1", asked_at=minutes(1))
    with pytest.raises(OutdatedReleaseError):
        rollout.check(world.store, world.ledger, old)
    rollout.check(world.store, world.ledger, old, cause="rollback")
    rollout.check(world.store, world.ledger, Move(run_id="run-b", release_id="r1", asked_at=minutes(5)))


def test_a_repeated_release_leaves_the_trial_of_a_later_one_alone(world: World) -> None:
    """Cleared while the next one is on trial: its run is current already, so nothing changes, and nothing is said twice."""
    release(world, "run-a", "r1", asked=0, at=1)
    conclude = {"by": "test", "at": minutes(2)}
    again = Move(run_id="run-a", release_id="r1", asked_at=minutes(0))
    assert rollout.conclude(world.ledger, again, world.store.read(), **conclude)  # type: ignore[arg-type]
    release(world, "run-b", "r2", asked=5, at=6, mode="canary")
    before, said = world.store.read(), len(world.ledger.read())
    world.gate(again)
    done = world.commit(again, at=minutes(20))
    assert (done.changed, world.store.read()) == (False, before)
    assert not rollout.conclude(world.ledger, again, done.registry, by="test", at=minutes(21))
    assert len(world.ledger.read()) == said + 1  # the gate's word


@pytest.mark.parametrize("cause", ["person", "rollback"])
def test_a_person_who_names_the_current_run_ends_the_trial(world: World, cause: Cause) -> None:
    """That is how a trial is ended by hand."""
    release(world, "run-a", "r1", asked=0, at=1)
    release(world, "run-b", "r2", asked=5, at=6, mode="canary")
    assert world.commit(Move(run_id="run-a", release_id="by-hand"), cause=cause, at=minutes(9)).changed
    assert world.store.read().candidate is None
