"""Small published runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_release import golden
from model_release.adapters import ranked_lists
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.artifact import GOLDEN_NAME, Algorithm, DataSnapshot, Manifest, ServingFormat
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
            serving=ServingFormat(format="ranked_lists"),
            files=store.entries(folder),
        )


def write_golden(path: Path, model: RankedLists, users: Sequence[str]) -> None:
    """Record what ``model`` answers to ``users`` and to somebody unknown."""
    requests = golden.record(model, [("recommend", user, 3) for user in (*users, "nobody")])
    path.write_text("".join(f"{request.model_dump_json()}\n" for request in requests), encoding="utf-8")


def publish_run(paths: ReleasePaths, run_id: str, *, seed: int = 0, as_of: dt.datetime = AS_OF) -> Manifest:
    """Publish such a run; return its manifest."""
    manifest = stage_run(paths, run_id, seed=seed, as_of=as_of)
    RunStore(paths).publish(manifest)
    return manifest
