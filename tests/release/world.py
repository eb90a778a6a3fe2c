"""A registry, a ledger and a fleet of two, to release into."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from model_release import fleet, reversal, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.changes import Commit
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.phases import Phase, phase_of, record
from model_release.registry import Cause, register
from model_release.rollout import Move
from tests.fake_replicas import NOW, FakeReplica

LATER = NOW + dt.timedelta(minutes=5)


class World:
    """A registry and a ledger on disk, and a fleet of two."""

    def __init__(self, root: Path) -> None:
        self.paths = ReleasePaths(root)
        self.store = FileRegistry(self.paths)
        self.ledger = FileLedger(self.paths)
        self.fleet = [FakeReplica(self.store, url=f"http://replica-{number}") for number in (1, 2)]
        for number, run_id in enumerate(("run-a", "run-b", "run-c")):
            digest = f"{number}" * 64
            self.store.update(
                lambda registry, run_id=run_id, digest=digest: register(  # type: ignore[misc]
                    registry, run_id=run_id, manifest_sha256=digest, release_id="setup", at=NOW
                )
            )

    def gate(self, move: Move, verdict: str = "pass") -> None:
        record(
            self.ledger,
            LedgerEntry(
                at=NOW,
                event=Event.GATE_DECIDED,
                release_id=move.release_id,
                by="gate",
                run_id=move.run_id,
                generation=self.store.read().generation,
                details={"verdict": verdict},
            ),
        )

    def commit(self, move: Move, *, cause: Cause = "release", at: dt.datetime = NOW) -> Commit:
        return rollout.commit(self.store, self.ledger, move, by="test", at=at, cause=cause)

    def release(self, run_id: str, release_id: str) -> Commit:
        move = Move(run_id=run_id, release_id=release_id)
        self.gate(move)
        rollout.prepare(self.fleet, move)
        done = self.commit(move)
        assert rollout.switch(self.fleet, done.registry, move) == []
        assert fleet.disagreements(self.fleet, done.registry) == []
        rollout.conclude(self.ledger, move, done.registry, by="test", at=NOW)
        return done

    def put_back(self, release_id: str) -> Commit | None:
        return reversal.put_back(self.store, self.ledger, release_id=release_id, by="test", at=LATER, reason="broken")

    @property
    def current(self) -> str | None:
        current = self.store.read().current
        return current.run_id if current else None

    def phase(self, release_id: str) -> Phase:
        return phase_of(self.ledger.read(), release_id)
