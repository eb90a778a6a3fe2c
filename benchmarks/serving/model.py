"""The model of the comparison: 64 random factors, saved for the peers and published as runs of ours."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_release import golden
from model_release.adapters import ranked_lists
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import GOLDEN_NAME, Algorithm, DataSnapshot, Manifest, ServingFormat
from model_release.paths import ReleasePaths

FACTORS = 64
USERS = 10_000
DEPTH = 100  # of the precomputed lists
RUNS = ("run-a", "run-b")  # the same model twice: what changes in a change of model is the run alone
_SEED = 20170101
_EXACT = 1 << 28  # user-item pairs; above, precomputed lists hold random items: their content costs nothing to serve
_BLOCK = 20_000_000  # scores at a time
_AS_OF = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """Users ``u0, u1, ...`` and items ``i0, i1, ...``; ``users`` is (n, 64), ``items`` is (m, 64)."""

    users: Floats
    items: Floats

    @property
    def user_ids(self) -> list[str]:
        """The n ids."""
        return [f"u{row}" for row in range(len(self.users))]

    @property
    def item_ids(self) -> list[str]:
        """The m ids."""
        return [f"i{row}" for row in range(len(self.items))]


def draw(items: int) -> Model:
    """Return a model of 10,000 users and ``items`` items, always the same."""
    rng = np.random.default_rng(_SEED)
    return Model(*(rng.standard_normal((rows, FACTORS), dtype=np.float32) for rows in (USERS, items)))


def save_for_peers(folder: Path, model: Model, run_id: str) -> Path:
    """Write what ``hosts/scoring.py`` reads; return the folder."""
    folder.mkdir(parents=True)
    (folder / "run_id.txt").write_text(run_id)
    np.save(folder / "user_factors.npy", model.users, allow_pickle=False)
    np.save(folder / "item_factors.npy", model.items, allow_pickle=False)
    (folder / "user_ids.txt").write_text("\n".join(model.user_ids))
    (folder / "item_ids.txt").write_text("\n".join(model.item_ids))
    return folder


def factors_format_exists() -> bool:
    """Whether this version of the project can score factors at request time."""
    return importlib.util.find_spec("model_release.adapters.factors") is not None


def publish(home: Path, model: Model, run_id: str, serving: str) -> None:
    """Publish a run in the format ``ranked_lists`` or ``factors`` below ``home``."""
    store = RunStore(ReleasePaths(home.resolve()))
    with store.staging(run_id) as folder:
        chosen = _write_factors(folder, model) if serving == "factors" else _write_lists(folder, model)
        manifest = Manifest(
            run_id=run_id,
            created_at=_AS_OF,
            git_commit=None,
            as_of=_AS_OF,
            algorithm=Algorithm(name="benchmark", seed=_SEED),
            data=DataSnapshot(
                source="benchmark",
                rows=1,
                users=len(model.users),
                items=len(model.items),
                first_timestamp=_AS_OF - dt.timedelta(days=2),
                last_timestamp=_AS_OF - dt.timedelta(days=1),
                content_sha256="0" * 64,
            ),
            serving=chosen,
            files=store.entries(folder),
        )
        requests = golden.record(open_model(folder, manifest), [("recommend", user, 10) for user in ("u0", "u1", "-")])
        (folder / GOLDEN_NAME).write_text("".join(f"{request.model_dump_json()}\n" for request in requests))
        manifest = manifest.model_copy(update={"files": store.entries(folder)})
    store.publish(manifest)


def _write_lists(folder: Path, model: Model) -> ServingFormat:
    m = len(model.items)
    ranked_lists.write(
        folder,
        user_ids=model.user_ids,
        item_ids=model.item_ids,
        user_lists=_lists(model),
        similar_lists=(np.arange(m)[:, None] + np.arange(1, 11)).astype(np.int32) % np.int32(m),
        popular=np.arange(DEPTH, dtype=np.int32),
    )
    return ServingFormat(format="ranked_lists")


def _write_factors(folder: Path, model: Model) -> Any:
    """Write the format ``factors``, if this version of the project has it."""
    factors: Any = importlib.import_module("model_release.adapters.factors")
    artifact: Any = importlib.import_module("model_release.artifact")
    chosen = artifact.FactorsFormat(exclude_seen=False, similarity="inner_product", depth=DEPTH)
    factors.write(
        folder,
        chosen,
        user_ids=model.user_ids,
        item_ids=model.item_ids,
        user_factors=model.users,
        item_factors=model.items,
        popular=np.arange(DEPTH, dtype=np.int32),
    )
    return chosen


def _lists(model: Model) -> npt.NDArray[np.int32]:
    """Return the best 100 items of every user, (n, 100); for very many pairs, random items."""
    n, m = len(model.users), len(model.items)
    if n * m > _EXACT:
        return np.random.default_rng(_SEED).integers(0, m, (n, DEPTH), dtype=np.int32)
    lists = np.empty((n, DEPTH), dtype=np.int32)
    step = max(1, _BLOCK // m)
    for start in range(0, n, step):
        scores = model.users[start : start + step] @ model.items.T
        best = np.argpartition(scores, m - DEPTH, axis=1)[:, -DEPTH:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        lists[start : start + step] = np.take_along_axis(best, order, axis=1)
    return lists
