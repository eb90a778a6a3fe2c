"""Whatever order releases, retries, crashes, zombies and rollbacks come in, the rules of a rollout hold."""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from model_release import fleet, reversal, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import InvalidInputError, ReplicaError, StateError
from model_release.ledger import Event, LedgerEntry, served_at
from model_release.paths import ReleasePaths
from model_release.phases import record
from model_release.registry import clear_latch, register, set_latch
from model_release.rollout import Move
from tests.fake_replicas import NOW, FakeReplica

RUNS = ("run-a", "run-b", "run-c", "run-d")


class Crash(BaseException):
    """The process died here."""


class CrashingLedger(FileLedger):
    """Dies before it writes, as often as it is told to."""

    crashes = 0

    def append(self, entry: LedgerEntry) -> bool:
        if self.crashes:
            self.crashes -= 1
            raise Crash
        return super().append(entry)


class RolloutMachine(RuleBasedStateMachine):
    """Releases that are started, judged, committed, proved, retried, put back and rolled back in any order."""

    moves = Bundle("moves")

    @initialize()
    def make_world(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="rollout-machine-")
        paths = ReleasePaths(Path(self.folder.name))
        self.store, self.ledger = FileRegistry(paths), CrashingLedger(paths)
        self.fleet = [FakeReplica(self.store, url=f"http://replica-{number}") for number in (1, 2)]
        self.clock = NOW
        self.releases = 0
        self.passed: dict[str, int] = {}  # release id -> generation at which the gate's last word was PASS
        for number, run_id in enumerate(RUNS):
            registry = self.store.read()
            added = register(registry, run_id=run_id, manifest_sha256=f"{number}" * 64, release_id="setup", at=NOW)
            self.store.update(lambda _, added=added: added)  # type: ignore[misc]

    def tick(self) -> dt.datetime:
        self.clock += dt.timedelta(seconds=1)
        return self.clock

    @rule(target=moves, run_id=st.sampled_from(RUNS), mode=st.sampled_from(["primary", "primary", "shadow"]))
    def start(self, run_id: str, mode: str) -> Move:
        self.releases += 1
        release_id = f"release-{self.releases}"
        if mode == "shadow":
            return Move(run_id=run_id, release_id=release_id, mode="shadow", rollout=0.5)
        return Move(run_id=run_id, release_id=release_id)

    @rule(move=moves, verdict=st.sampled_from(["pass", "pass", "fail"]))
    def judge(self, move: Move, verdict: str) -> None:
        entry = LedgerEntry(
            at=self.tick(),
            event=Event.GATE_DECIDED,
            release_id=move.release_id,
            by="gate",
            run_id=move.run_id,
            generation=self.store.read().generation,
            reason=f"{verdict} at {self.clock}",
            details={"verdict": verdict},
        )
        record(self.ledger, entry)
        self.passed.pop(move.release_id, None)
        if verdict == "pass":
            self.passed[move.release_id] = self.store.read().generation

    @rule(move=moves, crash=st.booleans())
    def commit(self, move: Move, crash: bool) -> None:
        before = self.store.read()
        self.ledger.crashes = int(crash)
        try:
            rollout.commit(self.store, self.ledger, move, by="machine", at=self.tick())
        except (StateError, InvalidInputError):
            assert self.store.read() == before, "a refused commit changed the registry"
        except Crash:
            pass
        self.ledger.crashes = 0
        after = self.store.read()
        assert after.generation - before.generation in {0, 1}
        if after.generation != before.generation:
            passed_at = self.passed.get(move.release_id)
            assert passed_at == before.generation, "committed without a PASS, or on another generation than judged"
            assert before.latch is None, "an automatic release went past the latch"

    @rule(target=moves, run_id=st.sampled_from(RUNS), crash=st.booleans())
    def release(self, run_id: str, crash: bool) -> Move:
        """A release without incident, or one whose task dies right after the commit."""
        self.releases += 1
        move = Move(run_id=run_id, release_id=f"release-{self.releases}")
        self.judge(move=move, verdict="pass")
        self.commit(move=move, crash=crash)
        if not crash:
            self.switch_and_prove(move=move, lost=False)
        return move

    @rule(move=moves, lost=st.booleans())
    def switch_and_prove(self, move: Move, lost: bool) -> None:
        self.fleet[1].down = lost
        registry = self.store.read()
        rollout.switch(self.fleet, registry)
        self.fleet[1].down = False
        current = registry.current
        if move.mode != "primary" or current is None or current.release_id != move.release_id:
            return
        if fleet.disagreements(self.fleet, registry) == []:
            assert all(replica.served == registry for replica in self.fleet)
            try:
                rollout.conclude(self.ledger, move, registry, by="machine", at=self.tick())
            except StateError:
                # its commit is not in the ledger: the crash is not repaired yet
                assert not any(
                    entry.event is Event.COMMITTED
                    and entry.release_id == move.release_id
                    and entry.generation == current.generation  # not one that was put back before
                    for entry in self.ledger.read()
                )

    @rule(move=moves, crash=st.booleans())
    def put_back(self, move: Move, crash: bool) -> None:
        before = self.store.read()
        self.ledger.crashes = int(crash)
        with contextlib.suppress(Crash):
            reversal.put_back(
                self.store, self.ledger, release_id=move.release_id, by="machine", at=self.tick(), reason="broken"
            )
        self.ledger.crashes = 0
        after = self.store.read()
        was = before.current
        if crash and after == before:
            return  # it died while it wrote down what an earlier crash had left out
        if before.candidate is not None and before.candidate.release_id == move.release_id:
            assert (after.candidate, after.current) == (None, was)
        elif was is not None and was.release_id == move.release_id:
            assert (after.current.run_id if after.current else None) == was.previous_run_id
        else:
            assert after == before, "a put-back touched what another release committed"

    @rule()
    def roll_back(self) -> None:
        before = self.store.read()
        target = before.last_good_run_id()
        bad = {run_id for run_id in RUNS if before.ended_as(run_id) in {"rolled_back", "withdrawn"}}
        assert target not in bad, "would go back to a run that was itself taken back"
        if target is None:
            return
        self.releases += 1
        move = Move(run_id=target, release_id=f"rollback-{self.releases}")
        rollout.commit(self.store, self.ledger, move, by="machine", at=self.tick(), cause="rollback")
        after = self.store.read()
        assert after.current is not None
        assert before.current is None or after.current.run_id != before.current.run_id

    @rule(latched=st.booleans())
    def latch(self, latched: bool) -> None:
        at = self.tick()
        self.store.update(lambda r: set_latch(r, reason="alert", by="machine", at=at) if latched else clear_latch(r))

    @rule(move=consumes(moves))
    def forget(self, move: Move) -> None:
        """Let a release end here, so that the others come to the fore."""

    @rule(number=st.integers(0, 1))
    def watch(self, number: int) -> None:
        replica = self.fleet[number]
        before = replica.served.generation
        try:
            replica.look()
        except ReplicaError:
            return
        assert replica.served.generation >= before, "a replica went back a generation"

    @invariant()
    def history_is_a_chain(self) -> None:
        """Generations only grow, and each past run ended before the next began."""
        if not hasattr(self, "store"):
            return
        registry = self.store.read()
        marks = [past.generation for past in registry.history]
        assert marks == sorted(marks, reverse=True)
        if registry.current is not None and marks:
            assert registry.current.generation > marks[0]
        if registry.current is not None and registry.candidate is not None:
            assert registry.current.run_id != registry.candidate.run_id

    @invariant()
    def ledger_knows_every_change_but_perhaps_the_last(self) -> None:
        """Only the change whose writer died just now may be missing, and the next writer adds it."""
        if not hasattr(self, "store"):
            return
        registry = self.store.read()
        changes = {Event.COMMITTED, Event.PUT_BACK}
        known = {entry.generation for entry in self.ledger.read() if entry.event in changes}
        assert {past.generation for past in registry.history[1:]} <= known

    @invariant()
    def ledger_answers_what_serves_now(self) -> None:
        """If the ledger has the current generation, "what serves now" is the registry's current run."""
        if not hasattr(self, "store"):
            return
        registry, entries = self.store.read(), self.ledger.read()
        found = served_at(entries, self.clock)
        if registry.current is not None and found is not None and found.generation == registry.current.generation:
            assert found.run_id == registry.current.run_id

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestRollout = RolloutMachine.TestCase
TestRollout.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_a_commit_after_a_put_back_whose_writer_died_is_not_proved_before_it_is_repaired() -> None:
    """The ledger has the release's first commit, and not the one that is in force."""
    machine = RolloutMachine()
    machine.make_world()
    move = machine.release(run_id="run-a", crash=False)
    assert isinstance(move, Move)
    machine.put_back(move=move, crash=False)
    machine.judge(move=move, verdict="pass")
    machine.commit(move=move, crash=True)
    machine.switch_and_prove(move=move, lost=False)
    current = machine.store.read().current
    assert current is not None
    assert current.release_id == move.release_id
    proved = [entry.generation for entry in machine.ledger.read() if entry.event is Event.RELEASED]
    assert current.generation not in proved
    machine.teardown()
