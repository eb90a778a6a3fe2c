"""Runs of a shop whose items have names in many scripts, some of them written from right to left."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from model_release import golden
from model_release.adapters import ranked_lists
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.artifact import GOLDEN_NAME, Algorithm, ServingFormat
from model_release.paths import ReleasePaths
from tests.runs import manifest_of

NAMES = (
    "Whole milk 1 L", "حليب طازج كامل الدسم", "全脂牛奶 1 升", "קפה שחור 250 גרם", "低温焙煎コーヒー豆", "Sauerteigbrot 750 g",
    "خبز عربي (6 قطع)", "김치 500 g", "Żurek w butelce", "東方美人茶", "Crème fraîche", "Phở bò ăn liền", "Olive oil 0,5 L",
    "زيت زيتون بكر 500 ml", "豆腐", "Молоко 2,5 %", "ĐẬU HŨ 400 g", "Γιαούρτι στραγγιστό", "米 10 公斤", "Dark chocolate 85 %",
    "צהריים טובים – סלט", "Bananas", "苹果", "Eggs, 10",
)  # fmt: skip
ITEMS = tuple(f"i{number:03}" for number in range(1, len(NAMES) + 1))
USERS = ("u1", "u2", "用户三", *(f"customer-{number}" for number in range(4, 25)))


def publish_shop_run(
    paths: ReleasePaths, run_id: str, *, seed: int, as_of: dt.datetime, algorithm: str, first_name: str = NAMES[0]
) -> None:
    """Publish a run whose lists differ a little from those of the run with the seed before; ``first_name``: of an item."""
    rng = np.random.default_rng(7)
    taste = rng.standard_normal((len(USERS), len(ITEMS)))
    popular = rng.standard_normal(len(ITEMS))
    for step in range(seed):
        change = np.random.default_rng(100 + step)
        taste = taste + 0.25 * change.standard_normal(taste.shape)
        popular = popular + 0.2 * change.standard_normal(popular.shape)
    store = RunStore(paths)
    with store.staging(run_id) as folder:
        ranked_lists.write(
            folder,
            user_ids=USERS,
            item_ids=ITEMS,
            user_lists=np.argsort(-taste, axis=1)[:, :20].astype(np.int32),
            similar_lists=np.stack([np.roll(np.arange(len(ITEMS)), -1 - row)[:5] for row in range(len(ITEMS))]).astype(
                np.int32
            ),
            popular=np.argsort(-popular).astype(np.int32),
            item_names=(first_name, *NAMES[1:]),
        )
        _record(folder)
        found = manifest_of(run_id, ServingFormat(format="ranked_lists"), store.entries(folder), seed=seed, as_of=as_of)
        parameters = {"factors": 64 + 32 * (seed % 3), "iterations": 15, "regularization": 0.01 * seed}
        data = found.data.model_copy(
            update={"users": len(USERS), "items": len(ITEMS), "rows": 1_400_000 + 9_000 * seed}
        )
        manifest = found.model_copy(
            update={"algorithm": Algorithm(name=algorithm, seed=seed, parameters=parameters), "data": data}
        )
        store.publish(manifest)


def _record(folder: Path) -> None:
    requests = golden.record(RankedLists(folder), [("recommend", user, 20) for user in (*USERS[:20], "nobody")])
    text = "".join(f"{request.model_dump_json()}\n" for request in requests)
    (folder / GOLDEN_NAME).write_text(text, encoding="utf-8")
