"""Small logs, made up: groceries that repeat, and films that do not."""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from model_release.artifact import Manifest
from model_release.contract import utc_now
from pipeline.algorithms.protocol import TrainingData
from pipeline.config import PipelineConfig, load_config

DAY = dt.timedelta(days=1)
START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
DAYS = 80
END = START + DAYS * DAY  # the newest rows are of the day before
AS_OF = END - 7 * DAY
USERS, ITEMS = 45, 30


def grocery_rows(*, seed: int = 1, users: int = USERS, items: int = ITEMS, days: int = DAYS) -> pl.DataFrame:
    """Return purchases of ``users`` households, each with six habits, the same number every day."""
    rng = np.random.default_rng(seed)
    habits = np.stack([rng.choice(items, 6, replace=False) for _ in range(users)])
    columns: dict[str, list[Any]] = {"who": [], "what": [], "when": [], "amount": [], "paid": []}
    for day in range(days):
        for who in range(users):
            if (day + who) % 3:  # every household shops every third day
                continue
            taken = habits[who, rng.integers(0, 6)] if rng.random() < 0.8 else rng.integers(0, items)
            columns["who"].append(who + 1)
            columns["what"].append(int(taken) + 100)
            columns["when"].append(
                START + day * DAY + dt.timedelta(minutes=int(rng.integers(8 * 60, 20 * 60)), seconds=who)
            )
            columns["amount"].append(int(rng.integers(1, 5)))
            columns["paid"].append(round(float(rng.uniform(0.5, 9.0)), 2))
    return pl.DataFrame(columns, schema_overrides={"when": pl.Datetime("us", "UTC")}).sort("when")


def grocery_items(items: int = ITEMS) -> pl.DataFrame:
    """Return the items; one has no name."""
    numbers = range(items)
    return pl.DataFrame(
        {
            "what": [number + 100 for number in numbers],
            "kind": [None if number == 3 else f"kind {number}" for number in numbers],
            "brand": [None if number == 3 else "house" for number in numbers],
            "aisle": [f"aisle {number % 4}" for number in numbers],
        }
    )


GROCERY: dict[str, Any] = {
    "schema_version": 1,
    "source": {
        "name": "groceries",
        "interactions": {
            "path": "rows.parquet",
            "columns": {
                "user_id": "who",
                "item_id": "what",
                "timestamp": "when",
                "quantity": "amount",
                "price": "paid",
            },
        },
        "items": {
            "path": "items.parquet",
            "columns": {"item_id": "what", "name": ["kind", "brand"], "category": "aisle"},
        },
        "timezone": "UTC",
    },
    "clock": "log_time",
    "repeat_purchases": True,
    "training": {"algorithm": "personal_frequency", "user_list_length": 20, "similar_list_length": 5, "seed": 3},
}


@dataclass
class Source:
    """A folder with a log, its items and a configuration; what is set takes effect with the next ``config``."""

    folder: Path
    rows: pl.DataFrame
    items: pl.DataFrame | None
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self.folder / "pipeline.yaml"

    def config(self, **changes: Any) -> PipelineConfig:
        """Write everything to disk and read the configuration; ``training__seed=1`` sets a nested key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows.write_parquet(self.folder / "rows.parquet")
        if self.items is not None:
            self.items.write_parquet(self.folder / "items.parquet")
        self.path.write_text(yaml.safe_dump(changed(self.document, **changes), allow_unicode=True), encoding="utf-8")
        return load_config(self.path)


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy with ``a__b=value`` set at ``a.b``; None takes the key away."""
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(document))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = copy
        for name in outer:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return copy


def groceries(folder: Path, **shape: int) -> Source:
    """Return a clean source of groceries in ``folder``, written to disk."""
    source = Source(folder, grocery_rows(**shape), grocery_items(shape.get("items", ITEMS)), dict(GROCERY))
    source.config()
    return source


FILMS = (
    "霸王别姬",
    "活着",
    "卧虎藏龙",
    "英雄",
    "花样年华",
    "大话西游",
    "无间道",
    "让子弹飞",
    "流浪地球",
    "哪吒, 之魔童降世",
)
MORE_FILMS = tuple(f"电影“{number}”" for number in range(14))
OFFSET = dt.timezone(dt.timedelta(hours=8))


def films(folder: Path) -> Source:
    """Return a log of another shape: CSV, ids in words, no amounts, nothing taken twice, 16 users, times with offset."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    titles = [*FILMS, *MORE_FILMS]
    now = utc_now().astimezone(OFFSET).replace(microsecond=0)
    records = []
    for number in range(16):
        seen = rng.permutation(len(titles))[:14]
        for place, film in enumerate(seen):
            moment = now - dt.timedelta(days=46.85 - 3.6 * place, minutes=7 * number + 1)
            records.append((f"观众-{number:02d}", f"tt-{film:03d}", moment.isoformat(timespec="seconds")))
    records.sort(key=lambda record: record[2])
    _write_csv(folder / "watched.csv", [("观众", "film", "at"), *records])
    _write_csv(folder / "films.csv", [("id", "title"), *((f"tt-{n:03d}", title) for n, title in enumerate(titles))])
    document = {
        "source": {
            "name": "films",
            "interactions": {
                "path": "watched.csv",
                "columns": {"user_id": "观众", "item_id": "film", "timestamp": "at"},
            },
            "items": {"path": "films.csv", "columns": {"item_id": "id", "name": "title"}},
            "timezone": "Asia/Shanghai",
        },
        "repeat_purchases": False,
        "training": {"algorithm": "item_knn", "user_list_length": 20, "similar_list_length": 6},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return Source(folder, pl.DataFrame(), None, document)


def _write_csv(path: Path, lines: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    path.write_text(text.getvalue(), encoding="utf-8")


def log(*lines: tuple[str, str, float], cutoff: dt.datetime = END) -> pl.DataFrame:
    """Return interactions from (user, item, days before ``cutoff``)."""
    return pl.DataFrame(
        {
            "user_id": [user for user, _, _ in lines],
            "item_id": [item for _, item, _ in lines],
            "timestamp": [cutoff - dt.timedelta(days=days) for _, _, days in lines],
        },
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")},
    )


def training_data(*lines: tuple[str, str, float]) -> TrainingData:
    """Return the same, coded."""
    return TrainingData.of(log(*lines), cutoff=END)


def random_lines(seed: int = 0, *, users: int = 12, items: int = 9, rows: int = 120) -> list[tuple[str, str, float]]:
    """Return a random log in which hardly any two scores are the same."""
    rng = np.random.default_rng(seed)
    return [
        (f"u{rng.integers(users):02d}", f"i{int(items * rng.random() ** 2)}", float(rng.uniform(0.01, 90)))
        for _ in range(rows)
    ]


def files_of(manifest: Manifest) -> dict[str, str]:
    """Return the hash of every file of a run."""
    return {entry.name: entry.sha256 for entry in manifest.files}
