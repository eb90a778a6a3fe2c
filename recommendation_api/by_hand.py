"""The call of a person who names a run and no generation: the API makes the commit itself.

One call to any replica moves the fleet, since all watch the registry.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from model_release import changes, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.changes import Commit
from model_release.contract import ReloadRequest, utc_now
from model_release.errors import IllegalMoveError
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.phases import record
from model_release.registry import register
from model_release.rollout import Move

_REASON = "by hand, through the API"


@dataclass(frozen=True)
class ByHand:
    """One such call, made by ``by``."""

    runs: RunStore
    registry: FileRegistry
    ledger: FileLedger
    by: str

    def move(self, request: ReloadRequest, run_id: str) -> Move:
        """Return what is asked for.

        Raises:
            IllegalMoveError: the same release was carried out before, and superseded: a replayed curl moves nothing.
        """
        move = Move(
            run_id=run_id,
            release_id=request.release_id or f"by-hand-{uuid.uuid4().hex[:12]}",
            mode=request.mode,
            rollout=request.rollout,
            lease_seconds=request.lease_seconds,
        )
        entries = of_release(self.ledger.read(), move.release_id)
        carried_out = any(entry.event is Event.COMMITTED for entry in entries)
        if carried_out and not changes.in_force(self.registry.read(), move.release_id):
            raise IllegalMoveError(
                f"release {move.release_id!r} was carried out and superseded since: give another release_id to do it "
                "again"
            )
        return move

    def publish(self, move: Move) -> None:
        """Rename the staged run into place.

        Raises:
            ModelReleaseError: nothing has changed.
        """
        self.runs.publish_staged(move.run_id)

    def commit(self, move: Move) -> Commit:
        """Register the run, which every worker has prepared, and make it desired.

        Raises:
            ModelReleaseError: nothing has changed.
        """
        digest, at = self.runs.manifest_sha256(move.run_id), utc_now()
        self.registry.update(
            lambda registry: register(
                registry, run_id=move.run_id, manifest_sha256=digest, release_id=move.release_id, at=at
            )
        )
        registered = LedgerEntry(
            at=at, event=Event.REGISTERED, release_id=move.release_id, by=self.by, run_id=move.run_id
        )
        known = self.ledger.read()
        if not any(entry.event is Event.REGISTERED and entry.run_id == move.run_id for entry in known):
            record(self.ledger, registered)
        return rollout.commit(self.registry, self.ledger, move, by=self.by, at=at, cause="person", reason=_REASON)

    def conclude(self, move: Move, done: Commit) -> None:
        """Write to the ledger that this replica serves it."""
        rollout.conclude(self.ledger, move, done.registry, by=self.by, at=utc_now(), cause="person")
