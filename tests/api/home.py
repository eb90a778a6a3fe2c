"""One installation on disk: small runs, the registry and the ledger, changed as the pipeline changes them."""

from __future__ import annotations

import shutil
from pathlib import Path

from model_release import golden, rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import GOLDEN_NAME, MANIFEST_NAME, Manifest
from model_release.contract import Mode, utc_now
from model_release.ledger import LedgerEntry, of_release
from model_release.paths import ReleasePaths
from model_release.registry import Registry, register
from model_release.rollout import Move
from tests.runs import USERS, publish_run, stage_run

SEEDS = {"run-a": 0, "run-b": 3, "run-c": 7}  # no user gets the same list from two of them
UNKNOWN = "nobody-has-this-id"


class Home:
    """The folder that replicas share; ``run-a`` is current, ``run-b`` and ``run-c`` are published."""

    def __init__(self, root: Path, *, current: str | None = "run-a") -> None:
        self.paths = ReleasePaths(root)
        self.registry = FileRegistry(self.paths)
        self.ledger = FileLedger(self.paths)
        self.runs = RunStore(self.paths)
        self._releases = 0
        for run_id, seed in SEEDS.items():
            publish_run(self.paths, run_id, seed=seed)
        if current is not None:
            self.commit(current)

    def publish(self, run_id: str, *, seed: int = 11) -> Path:
        """Publish one more run; return its folder."""
        publish_run(self.paths, run_id, seed=seed)
        return self.runs.folder(run_id)

    def publish_with_wrong_golden(self, run_id: str) -> None:
        """Publish a run whose hashes are right and whose recorded answer is not what it answers."""
        manifest = stage_run(self.paths, run_id, seed=11)
        path = self.runs.folder(run_id, source="staging") / GOLDEN_NAME
        first, *others = golden.parse(path.read_bytes(), str(path))
        wrong = first.model_copy(update={"expected": tuple(reversed(first.expected))})
        path.write_text("".join(f"{line.model_dump_json()}\n" for line in (wrong, *others)), encoding="utf-8")
        self.runs.publish(manifest.model_copy(update={"files": self.runs.entries(path.parent)}))

    def rewrite_manifest(self, run_id: str) -> None:
        """Change the manifest of a published run: valid, and not the one that was registered."""
        path = self.runs.folder(run_id) / MANIFEST_NAME
        manifest = Manifest.model_validate_json(path.read_bytes())
        path.write_text(manifest.model_copy(update={"git_commit": "another"}).model_dump_json(), encoding="utf-8")

    def register(self, run_id: str) -> None:
        """Pin the manifest of a published run."""
        digest = self.runs.manifest_sha256(run_id)
        self.registry.update(
            lambda state: register(state, run_id=run_id, manifest_sha256=digest, release_id="setup", at=utc_now())
        )

    def commit(
        self,
        run_id: str,
        *,
        mode: Mode = "primary",
        rollout_share: float | None = None,
        release_id: str | None = None,
        lease_seconds: int | None = None,
    ) -> Registry:
        """Commit to registry and ledger, and tell no replica."""
        self._releases += 1
        move = Move(
            run_id=run_id,
            release_id=release_id or f"release-{self._releases}",
            mode=mode,
            rollout=rollout_share,
            lease_seconds=lease_seconds,
        )
        self.register(run_id)
        done = rollout.commit(self.registry, self.ledger, move, by="test", at=utc_now(), cause="person")
        return done.registry

    def expected(self, run_id: str, user_id: str, k: int = 10) -> list[str]:
        """Return what a run answers to a user, read from its files."""
        model = open_model(self.runs.folder(run_id), self.runs.manifest(run_id))
        return list(golden.answer(model, "recommend", user_id, k))

    def lists(self, run_id: str) -> dict[str, list[str]]:
        """Return what a run answers to every known user and to an unknown one."""
        return {user: self.expected(run_id, user) for user in (*USERS, UNKNOWN)}

    def entries(self, release_id: str) -> list[LedgerEntry]:
        """Return what the ledger says of a release."""
        return of_release(self.ledger.read(), release_id)

    def events(self, release_id: str) -> list[str]:
        """Return the events of a release, oldest first."""
        return [entry.event.value for entry in self.entries(release_id)]

    @property
    def current(self) -> str | None:
        """The run that the registry desires."""
        current = self.registry.read().current
        return current.run_id if current else None

    @property
    def generation(self) -> int:
        """The generation of the registry."""
        return self.registry.read().generation


def alter_a_byte(path: Path) -> None:
    """Put a file with one other byte in the place of ``path``; whoever has mapped the old one keeps that.

    In a list of items the byte names another item of the catalogue: only the hash tells.
    """
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    replace_file(path, bytes(content))


def replace_file(path: Path, content: bytes) -> None:
    """Put another file in the place of ``path``."""
    beside = path.with_name(f"{path.name}.beside")
    beside.write_bytes(content)
    shutil.move(beside, path)
