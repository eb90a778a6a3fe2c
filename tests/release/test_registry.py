"""The desired state, and every way in which it may change."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from model_release.errors import InvalidInputError, LatchedError, RunNotFoundError
from model_release.registry import (
    HISTORY_LIMIT,
    Cause,
    Current,
    Registry,
    TrialMode,
    clear_latch,
    end_trial,
    promote,
    register,
    renew_lease,
    set_latch,
    start_trial,
    withdraw,
)

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
RUNS = ("run-a", "run-b", "run-c", "run-d")


def registered(*run_ids: str) -> Registry:
    """Return a registry that knows these runs."""
    registry = Registry()
    for run_id in run_ids:
        registry = register(registry, run_id=run_id, manifest_sha256="a" * 64, release_id="r", at=NOW)
    return registry


def release(registry: Registry, run_id: str, release_id: str = "r", cause: Cause = "release") -> Registry:
    """Make a run current."""
    return promote(registry, run_id=run_id, release_id=release_id, at=NOW, cause=cause)


def test_the_first_release() -> None:
    """From nothing, a registered run becomes current at generation 1, with nothing before it."""
    registry = release(registered("run-a"), "run-a", "release-1")
    assert registry.generation == 1
    assert registry.current == Current(run_id="run-a", release_id="release-1", since=NOW, generation=1)
    assert registry.history == ()
    assert registry.last_good_run_id() is None


def test_a_run_that_is_not_registered_never_becomes_current() -> None:
    """Only a run with a pinned manifest is released or tried."""
    with pytest.raises(RunNotFoundError, match="run-b"):
        release(registered("run-a"), "run-b")
    with pytest.raises(RunNotFoundError, match="run-b"):
        start_trial(registered("run-a"), run_id="run-b", mode="shadow", rollout=0.1, release_id="r", at=NOW)


def test_a_run_is_registered_once_and_for_all() -> None:
    """The same manifest again changes nothing; another one is refused and both hashes are named."""
    registry = registered("run-a")
    assert register(registry, run_id="run-a", manifest_sha256="a" * 64, release_id="x", at=NOW) is registry
    with pytest.raises(InvalidInputError, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        register(registry, run_id="run-a", manifest_sha256="b" * 64, release_id="x", at=NOW)


def test_the_latch_stops_releases_and_trials_but_not_the_way_back() -> None:
    """While the latch is set nothing goes forward by itself; a rollback and a person still can."""
    registry = release(release(registered(*RUNS), "run-a"), "run-b")
    latched = set_latch(registry, reason="alert", by="prometheus", at=NOW)
    with pytest.raises(LatchedError, match="alert"):
        release(latched, "run-c")
    with pytest.raises(LatchedError, match="alert"):
        start_trial(latched, run_id="run-c", mode="canary", rollout=0.1, release_id="r", at=NOW)
    back = release(latched, "run-a", cause="rollback")
    assert back.current is not None
    assert back.current.run_id == "run-a"
    assert back.latch == latched.latch
    by_hand = release(latched, "run-c", cause="person")
    assert by_hand.current is not None
    assert by_hand.current.run_id == "run-c"


def test_a_latch_keeps_its_first_reason() -> None:
    """A second alert does not hide why the latch was set."""
    first = set_latch(registered("run-a"), reason="first", by="x", at=NOW)
    assert set_latch(first, reason="second", by="y", at=NOW) is first
    assert clear_latch(first).latch is None
    assert clear_latch(clear_latch(first)) == clear_latch(first)


def test_a_rollback_without_a_name_goes_to_the_last_run_that_was_not_rolled_back_itself() -> None:
    """a, b, c: c is bad, back to b; b turns out bad too: the next way back is a, not c."""
    registry = release(release(release(registered(*RUNS), "run-a"), "run-b"), "run-c")
    assert registry.last_good_run_id() == "run-b"
    back = release(registry, "run-b", cause="rollback")
    assert back.ended_as("run-c") == "rolled_back"
    assert back.last_good_run_id() == "run-a"


def test_a_trial_needs_a_current_run_and_another_candidate() -> None:
    """Nothing is tried beside nothing, and no run beside itself."""
    with pytest.raises(InvalidInputError, match="no run is current"):
        start_trial(registered("run-a"), run_id="run-a", mode="shadow", rollout=0.1, release_id="r", at=NOW)
    with pytest.raises(InvalidInputError, match="current already"):
        start_trial(
            release(registered("run-a"), "run-a"), run_id="run-a", mode="shadow", rollout=1, release_id="r", at=NOW
        )


def test_a_lease_belongs_to_its_release_and_only_grows() -> None:
    """Another release can't renew it, and a late renewal never shortens it."""
    registry = start_trial(
        release(registered("run-a", "run-b"), "run-a"),
        run_id="run-b",
        mode="canary",
        rollout=0.1,
        release_id="mine",
        at=NOW,
        lease_until=NOW + dt.timedelta(seconds=60),
    )
    with pytest.raises(InvalidInputError, match="other"):
        renew_lease(registry, release_id="other", lease_until=NOW + dt.timedelta(seconds=90))
    assert renew_lease(registry, release_id="mine", lease_until=NOW + dt.timedelta(seconds=30)) is registry
    longer = renew_lease(registry, release_id="mine", lease_until=NOW + dt.timedelta(seconds=90))
    assert longer.candidate is not None
    assert not longer.candidate.expired(NOW + dt.timedelta(seconds=89))
    assert longer.candidate.expired(NOW + dt.timedelta(seconds=90))


def test_the_history_is_bounded() -> None:
    """The file does not grow for ever: the newest thousand changes are kept, the ledger has all."""
    registry = registered("run-a", "run-b")
    for number in range(HISTORY_LIMIT + 10):
        registry = release(registry, RUNS[number % 2])
    assert len(registry.history) == HISTORY_LIMIT
    assert registry.history[0].generation == registry.generation - 1


@pytest.mark.parametrize(
    "broken",
    [
        {"generation": -1},
        {
            "generation": 0,
            "current": {"run_id": "a", "release_id": "r", "since": "2026-01-05T00:00:00Z", "generation": 1},
        },
        {"unknown": 1},
        {"schema_version": 2},
        {
            "generation": 1,
            "current": {"run_id": "../a", "release_id": "r", "since": "2026-01-05T00:00:00Z", "generation": 1},
        },
        {
            "generation": 1,
            "current": {"run_id": "a", "release_id": "r", "since": "2026-01-05T00:00:00", "generation": 1},
        },
    ],
)
def test_a_registry_that_contradicts_itself_is_no_registry(broken: dict[str, object]) -> None:
    """Unknown keys, times without a zone, path-like run ids and parts newer than the whole are errors."""
    with pytest.raises(ValidationError):
        Registry.model_validate(broken)


class RegistryMachine(RuleBasedStateMachine):
    """Any sequence of changes by anybody, beside a model that is a few lines long."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.served: list[str | None] = [None]  # every run that was current, in order; None: none was
        self.now = NOW
        self.releases = 0

    @initialize()
    def know_some_runs(self) -> None:
        """Start with three of the four runs registered, so that most changes are possible."""
        self.registry = registered(*RUNS[:3])

    def change(self, after: Registry, *, of_desired_state: bool) -> None:
        """Take the next state; the generation grows by exactly one per change of the desired state, else not."""
        before, self.registry = self.registry, after
        if not of_desired_state or after is before:
            assert after.generation == before.generation
        else:
            assert after.generation == before.generation + 1
        current = after.current.run_id if after.current else None
        if current != self.served[-1]:
            self.served.append(current)

    def tick(self) -> tuple[dt.datetime, str]:
        """Return a later time and a new release id."""
        self.now += dt.timedelta(minutes=1)
        self.releases += 1
        return self.now, f"release-{self.releases}"

    @rule(run_id=st.sampled_from(RUNS))
    def register(self, run_id: str) -> None:
        """Registering never touches the desired state, and is a no-op the second time."""
        at, release_id = self.tick()
        after = register(self.registry, run_id=run_id, manifest_sha256="a" * 64, release_id=release_id, at=at)
        assert (after.current, after.candidate, after.latch) == (
            self.registry.current,
            self.registry.candidate,
            self.registry.latch,
        )
        self.change(after, of_desired_state=False)
        assert register(after, run_id=run_id, manifest_sha256="a" * 64, release_id="again", at=at) is after

    @rule(run_id=st.sampled_from(RUNS), cause=st.sampled_from(["release", "rollback", "person"]))
    def promote(self, run_id: str, cause: Cause) -> None:
        """A promotion lands on its run and clears the trial; repeated, it does nothing; latched, no release does."""
        at, release_id = self.tick()
        if self.registry.registered(run_id) is None:
            with pytest.raises(RunNotFoundError):
                promote(self.registry, run_id=run_id, release_id=release_id, at=at, cause=cause)
            return
        if cause == "release" and self.registry.latch is not None:
            with pytest.raises(LatchedError):
                promote(self.registry, run_id=run_id, release_id=release_id, at=at, cause=cause)
            return
        after = promote(self.registry, run_id=run_id, release_id=release_id, at=at, cause=cause)
        self.change(after, of_desired_state=True)
        assert after.current is not None
        assert after.current.run_id == run_id
        assert after.candidate is None
        assert promote(after, run_id=run_id, release_id="again", at=at, cause=cause) is after

    @precondition(lambda self: self.registry.last_good_run_id() is not None)
    @rule()
    def roll_back(self) -> None:
        """A rollback without a name lands on a run that was current before, and never on the one it leaves."""
        at, release_id = self.tick()
        target = self.registry.last_good_run_id()
        assert target is not None
        assert target in self.served
        left = self.registry.current.run_id if self.registry.current else None
        assert target != left
        after = promote(self.registry, run_id=target, release_id=release_id, at=at, cause="rollback")
        self.change(after, of_desired_state=True)
        if left is not None:
            assert after.ended_as(left) == "rolled_back"
            assert after.last_good_run_id() != left

    @rule()
    def withdraw(self) -> None:
        """Withdrawing leaves nothing current and nothing on trial; again, it does nothing."""
        at, _ = self.tick()
        after = withdraw(self.registry, at=at)
        self.change(after, of_desired_state=True)
        assert after.current is None
        assert after.candidate is None
        assert withdraw(after, at=at) is after

    @rule(run_id=st.sampled_from(RUNS), mode=st.sampled_from(["shadow", "canary"]), rollout=st.floats(0, 1))
    def try_out(self, run_id: str, mode: TrialMode, rollout: float) -> None:
        """A trial never changes what users get; repeated with the same release it does nothing."""
        at, release_id = self.tick()
        before = self.registry
        with contextlib.suppress(RunNotFoundError, LatchedError, InvalidInputError):
            after = start_trial(
                before,
                run_id=run_id,
                mode=mode,
                rollout=rollout,
                release_id=release_id,
                at=at,
            )
            assert before.latch is None
            assert after.current == before.current
            self.change(after, of_desired_state=True)
            assert (
                start_trial(
                    after,
                    run_id=run_id,
                    mode=mode,
                    rollout=rollout,
                    release_id=release_id,
                    at=at,
                )
                is after
            )

    @rule()
    def end_trial(self) -> None:
        """Users keep the current run."""
        after = end_trial(self.registry)
        assert after.current == self.registry.current
        self.change(after, of_desired_state=True)
        assert end_trial(after) is after

    @precondition(lambda self: self.registry.candidate is not None)
    @rule(seconds=st.integers(1, 600))
    def renew(self, seconds: int) -> None:
        """A lease is no change of the desired state."""
        assert self.registry.candidate is not None
        until = self.now + dt.timedelta(seconds=seconds)
        after = renew_lease(self.registry, release_id=self.registry.candidate.release_id, lease_until=until)
        self.change(after, of_desired_state=False)

    @rule()
    def latch(self) -> None:
        """The latch changes nothing that is served."""
        at, _ = self.tick()
        after = set_latch(self.registry, reason="why", by="who", at=at)
        assert (after.current, after.candidate) == (self.registry.current, self.registry.candidate)
        self.change(after, of_desired_state=True)

    @rule()
    def unlatch(self) -> None:
        """Nor does clearing it."""
        self.change(clear_latch(self.registry), of_desired_state=True)

    @invariant()
    def one_current_at_most_and_never_also_on_trial(self) -> None:
        """No run is current and candidate at once, and a candidate always has a current run beside it."""
        if self.registry.candidate is not None:
            assert self.registry.current is not None
            assert self.registry.candidate.run_id != self.registry.current.run_id

    @invariant()
    def the_history_is_complete(self) -> None:
        """Every run that was ever current stands there in order, each until the next began, no generation twice."""
        past = [entry.run_id for entry in reversed(self.registry.history)]
        if self.registry.current is not None:
            past.append(self.registry.current.run_id)
        assert past == [run_id for run_id in self.served if run_id is not None]
        generations = [entry.generation for entry in reversed(self.registry.history)]
        if self.registry.current is not None:
            generations.append(self.registry.current.generation)
        assert generations == sorted(set(generations))
        assert all(entry.since <= entry.until for entry in self.registry.history)

    @invariant()
    def it_survives_the_file(self) -> None:
        """What is written is what is read."""
        assert Registry.model_validate_json(self.registry.model_dump_json()) == self.registry


RegistryMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRegistryMachine = RegistryMachine.TestCase
