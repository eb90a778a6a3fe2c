"""The way back lands on the run from before, once, and leaves alone what others did since."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from model_release import fleet, reversal, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.errors import IllegalMoveError, InvalidInputError
from model_release.ledger import Event, LedgerEntry
from model_release.registry import promote
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
    last = world.ledger.read()[-2:]
    assert [(entry.event, entry.reason) for entry in last] == [
        (Event.PUT_BACK, "broken"),
        (Event.ROLLED_BACK, "broken"),
    ]


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


def minutes(number: float) -> dt.datetime:
    return NOW + dt.timedelta(minutes=number)


@pytest.fixture
def three(tmp_path: Path) -> World:
    """A, B and C were released at minute 0, 1 and 2; C is current."""
    made = World(tmp_path)
    for number, run_id in enumerate(("run-a", "run-b", "run-c")):
        move = Move(run_id=run_id, release_id=f"r{number}")
        made.gate(move)
        made.commit(move, at=minutes(number))
    return made


def target(world: World, release_id: str, *, asked: float, run_id: str | None = None) -> str | None:
    return reversal.rollback_target(
        world.store.read(), world.ledger.read(), release_id=release_id, asked_at=minutes(asked), run_id=run_id
    )


def roll_back(world: World, release_id: str, *, asked: float, at: float, run_id: str | None = None) -> str:
    found = target(world, release_id, asked=asked, run_id=run_id)
    assert found is not None
    world.commit(Move(run_id=found, release_id=release_id), cause="rollback", at=minutes(at))
    return found


def test_of_two_rollbacks_that_were_asked_for_at_once_one_goes_back(three: World) -> None:
    """The second finds another run current than the one it was meant for, and says which was and which is."""
    assert roll_back(three, "back-1", asked=10, at=12) == "run-b"
    with pytest.raises(IllegalMoveError, match=r"'run-c' was current when .*12:11:00 UTC.*'run-b' is now.*back-1"):
        target(three, "back-2", asked=11)
    assert three.current == "run-b"


def test_a_rollback_that_was_asked_for_after_the_first_goes_one_further(three: World) -> None:
    """Whoever asks when B is current means B."""
    roll_back(three, "back-1", asked=10, at=12)
    assert target(three, "back-2", asked=12) == "run-a"


def test_a_run_that_went_and_came_back_is_not_the_one_that_was_meant(three: World) -> None:
    """C, B, C again: what the last good run is has changed meanwhile."""
    roll_back(three, "back-1", asked=10, at=12)
    roll_back(three, "forth", asked=13, at=14, run_id="run-c")
    with pytest.raises(IllegalMoveError, match=r"'run-c' was current .*'run-c' is now, since"):
        target(three, "back-2", asked=11)


def test_what_the_ledger_lacks_is_taken_from_the_registry(three: World) -> None:
    """The writer of the last change may have died between the two."""
    three.store.update(
        lambda state: promote(state, run_id="run-b", release_id="back-1", at=minutes(12), cause="rollback")
    )
    with pytest.raises(IllegalMoveError, match="'run-b' is now"):
        target(three, "back-2", asked=11)
    assert target(three, "back-3", asked=13) == "run-a"


def test_a_named_run_is_gone_to_whoever_went_first(three: World) -> None:
    """It says where to end, not how far to go; being there already is refused."""
    roll_back(three, "back-1", asked=10, at=12)
    assert target(three, "back-2", asked=11, run_id="run-a") == "run-a"
    with pytest.raises(InvalidInputError, match="is current already"):
        target(three, "back-2", asked=11, run_id="run-b")


def test_a_trial_that_ends_meanwhile_does_not_count_as_another_current_run(three: World) -> None:
    """Users had the same run all the time."""
    trial = Move(run_id="run-a", release_id="try", mode="shadow", rollout=0.1)
    three.gate(trial)
    three.commit(trial, at=minutes(11))
    three.commit(Move(run_id="run-c", release_id="by-hand"), cause="person", at=minutes(12))
    assert target(three, "back-1", asked=10) == "run-b"


def test_the_same_rollback_asked_again_goes_no_further(three: World) -> None:
    """Half done, done, or put back by itself: the answer is the one it gave."""
    assert roll_back(three, "back-1", asked=10, at=12) == "run-b"
    assert target(three, "back-1", asked=10) == "run-b"
    assert reversal.put_back(
        three.store, three.ledger, release_id="back-1", by="test", at=minutes(13), reason="not proved"
    )
    assert three.current == "run-c"
    assert roll_back(three, "back-1", asked=10, at=14) == "run-b"
    assert three.current == "run-b"


def test_an_old_rollback_asked_again_moves_nothing(three: World) -> None:
    """Something newer was released since: neither the choice nor the commit alone takes it back."""
    roll_back(three, "back-1", asked=10, at=12)
    newer = Move(run_id="run-c", release_id="r3")
    three.gate(newer)
    three.commit(newer, at=minutes(20))
    with pytest.raises(IllegalMoveError, match=r"'back-1' was carried out .*'r3' made run-c current since"):
        target(three, "back-1", asked=10)
    with pytest.raises(IllegalMoveError, match="a repeated or cleared one moves nothing"):
        three.commit(Move(run_id="run-b", release_id="back-1"), cause="rollback", at=minutes(21))
    assert three.current == "run-c"


def test_a_rollback_that_waited_until_the_first_release_was_withdrawn_is_refused(world: World) -> None:
    """No run is current any more: that is another state than the one it was asked in."""
    world.release("run-a", "r1")
    world.put_back("r1")
    with pytest.raises(IllegalMoveError, match=r"'run-a' was current .* no run is now"):
        target(world, "back-1", asked=1)
