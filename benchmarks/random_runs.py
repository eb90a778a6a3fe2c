"""Runs of random ranked lists, of any size: made once, kept in a folder, linked into a fresh home each time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_release import golden, rollout
from model_release.adapters import ranked_lists
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.artifact import GOLDEN_NAME, Algorithm, DataSnapshot, Manifest, ServingFormat
from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from model_release.registry import register
from model_release.rollout import Move

CACHE = Path(".cache/benchmarks")
ITEMS, GOLDEN_REQUESTS = 10_000, 20


def fresh_home(root: Path, run_ids: Sequence[str], *, users: int, depth: int, cache: Path = CACHE) -> ReleasePaths:
    """Make an installation with these runs, all registered, the first one current.

    Args:
        root: an empty folder on the same file system as ``cache``: files are linked, not copied.
        run_ids: different ones have different lists.
        users: named ``user-0``, ``user-1``, ...
        depth: items in a list; the lists of a run have ``users * depth * 4`` bytes.
        cache: where the runs are kept.
    """
    kept = ReleasePaths(cache / f"lists-{users}x{depth}")
    paths, now = ReleasePaths(root), utc_now()
    registry = FileRegistry(paths)
    for seed, run_id in enumerate(run_ids):
        source = RunStore(kept).folder(run_id)
        if not source.exists():
            _publish(kept, run_id, users=users, depth=depth, seed=seed)
        store = RunStore(paths)
        target = store.folder(run_id)
        target.mkdir(parents=True)
        for file in source.iterdir():
            os.link(file, target / file.name)
        digest = store.manifest_sha256(run_id)
        registry.update(
            lambda state, run_id=run_id, digest=digest: register(  # type: ignore[misc]  # the defaults bind the loop's values
                state, run_id=run_id, manifest_sha256=digest, release_id="setup", at=now
            )
        )
    move = Move(run_id=run_ids[0], release_id="setup", mode="primary")
    rollout.commit(registry, FileLedger(paths), move, by="benchmark", at=now, cause="person")
    return paths


def _publish(paths: ReleasePaths, run_id: str, *, users: int, depth: int, seed: int) -> None:
    rng, store, now = np.random.default_rng(seed), RunStore(paths), utc_now()
    user_ids, item_ids = [f"user-{row}" for row in range(users)], [f"item-{row}" for row in range(ITEMS)]
    first = rng.integers(0, ITEMS, size=(users, 1), dtype=np.int32)
    step = rng.choice([1, 3, 7, 9], size=(users, 1)).astype(np.int32)  # no factor of ITEMS: no item comes twice
    with store.staging(run_id) as folder:
        ranked_lists.write(
            folder,
            user_ids=user_ids,
            item_ids=item_ids,
            user_lists=((first + step * np.arange(depth, dtype=np.int32)) % ITEMS).astype(np.int32),
            similar_lists=np.zeros((ITEMS, 1), np.int32),
            popular=rng.permutation(ITEMS)[:1000].astype(np.int32),
        )
        asked = [("recommend", user, 10) for user in user_ids[:GOLDEN_REQUESTS]]
        lines = golden.record(ranked_lists.RankedLists(folder), asked)
        (folder / GOLDEN_NAME).write_text("".join(f"{line.model_dump_json()}\n" for line in lines), encoding="utf-8")
        data = DataSnapshot(
            source="random",
            rows=1,
            users=users,
            items=ITEMS,
            first_timestamp=now,
            last_timestamp=now,
            content_sha256="0" * 64,
        )
        manifest = Manifest(
            run_id=run_id,
            created_at=now,
            git_commit=None,
            as_of=now,
            algorithm=Algorithm(name="random", seed=seed),
            data=data,
            serving=ServingFormat(format="ranked_lists"),
            files=store.entries(folder),
        )
    store.publish(manifest)
