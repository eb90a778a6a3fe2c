"""Small published runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_release import golden
from model_release.adapters import factors, ranked_lists
from model_release.adapters.factors import Seen
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import (
    GOLDEN_NAME,
    Algorithm,
    DataSnapshot,
    FactorsFormat,
    FileEntry,
    Manifest,
    ServedModel,
    ServingFormat,
)
from model_release.paths import ReleasePaths

AS_OF = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
USERS = ("u1", "u2", "用户三")
ITEMS = ("i1", "i2", "i3", "苹果")


def stage_run(paths: ReleasePaths, run_id: str, *, seed: int = 0, as_of: dt.datetime = AS_OF) -> Manifest:
    """Write the files of a run of three users and four items into staging; return its manifest."""
    rng = np.random.default_rng(seed)
    store = RunStore(paths)
    with store.staging(run_id) as folder:
        ranked_lists.write(
            folder,
            user_ids=USERS,
            item_ids=ITEMS,
            user_lists=np.stack([rng.permutation(4) for _ in USERS]).astype(np.int32),
            similar_lists=np.stack([np.roll(np.arange(4), -1 - row)[:3] for row in range(4)]).astype(np.int32),
            popular=rng.permutation(4).astype(np.int32),
            item_names=("Milk", None, "Bread", "苹果"),
        )
        write_golden(folder / GOLDEN_NAME, RankedLists(folder), USERS)
        return manifest_of(run_id, ServingFormat(format="ranked_lists"), store.entries(folder), seed=seed, as_of=as_of)


def manifest_of(
    run_id: str,
    serving: ServingFormat | FactorsFormat,
    files: Sequence[FileEntry],
    *,
    seed: int = 0,
    as_of: dt.datetime = AS_OF,
) -> Manifest:
    """Return the manifest of a small run."""
    return Manifest(
        run_id=run_id,
        created_at=as_of,
        git_commit=None,
        as_of=as_of,
        algorithm=Algorithm(name="popular", seed=seed),
        data=DataSnapshot(
            source="test",
            rows=10,
            users=len(USERS),
            items=len(ITEMS),
            first_timestamp=as_of - dt.timedelta(days=2),
            last_timestamp=as_of - dt.timedelta(days=1),
            content_sha256="0" * 64,
        ),
        serving=serving,
        files=tuple(files),
    )


def stage_factors(paths: ReleasePaths, run_id: str, *, seed: int = 0) -> Manifest:
    """Write a run of the same users and items in the format ``factors`` into staging; return its manifest."""
    rng = np.random.default_rng(seed)
    store, serving = RunStore(paths), FactorsFormat(exclude_seen=True)
    with store.staging(run_id) as folder:
        factors.write(
            folder,
            serving,
            user_ids=USERS,
            item_ids=ITEMS,
            user_factors=rng.standard_normal((3, 8), np.float32),
            item_factors=rng.standard_normal((4, 8), np.float32),
            item_bias=rng.standard_normal(4, np.float32),
            popular=rng.permutation(4).astype(np.int32),
            seen=Seen(np.array([0, 1, 1, 3]), np.array([2, 0, 3], np.int32)),
            item_names=("Milk", None, "Bread", "苹果"),
        )
        manifest = manifest_of(run_id, serving, store.entries(folder), seed=seed)
        write_golden(folder / GOLDEN_NAME, open_model(folder, manifest), USERS)
        return manifest.model_copy(update={"files": store.entries(folder)})


def publish_factors(paths: ReleasePaths, run_id: str, *, seed: int = 0) -> Manifest:
    """Publish such a run; return its manifest."""
    manifest = stage_factors(paths, run_id, seed=seed)
    RunStore(paths).publish(manifest)
    return manifest


def write_golden(path: Path, model: ServedModel, users: Sequence[str]) -> None:
    """Record what ``model`` answers to ``users`` and to somebody unknown."""
    requests = golden.record(model, [("recommend", user, 3) for user in (*users, "nobody")])
    path.write_text("".join(f"{request.model_dump_json()}\n" for request in requests), encoding="utf-8")


def publish_run(paths: ReleasePaths, run_id: str, *, seed: int = 0, as_of: dt.datetime = AS_OF) -> Manifest:
    """Publish such a run; return its manifest."""
    manifest = stage_run(paths, run_id, seed=seed, as_of=as_of)
    RunStore(paths).publish(manifest)
    return manifest
