"""A small shop whose customers have habits: models that know them beat popularity clearly, and train in a second."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

FIRST_DAYS = dt.datetime(2026, 1, 18, tzinfo=dt.UTC)  # up to here the log reaches when the first run is trained
LAST_DAY = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
USERS, ITEMS, DAYS, HABITS = 240, 150, 98, 8


def write_log(folder: Path, until: dt.datetime, *, seed: int = 7) -> None:
    """Write, or replace at once, what was bought before ``until``."""
    rng = np.random.default_rng(seed)
    habits = np.stack([rng.choice(ITEMS, HABITS, replace=False) for _ in range(USERS)])
    bought = np.argwhere(rng.random((DAYS, USERS, HABITS)) < 0.12)
    day, user, slot = bought.T
    item = np.where(rng.random(len(day)) < 0.15, rng.integers(0, ITEMS, len(day)), habits[user, slot])
    seconds = day * 86_400 + rng.integers(8 * 3600, 22 * 3600, len(day))
    start = LAST_DAY - dt.timedelta(days=DAYS)
    log = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "timestamp": pl.Series(seconds * 1_000_000).cast(pl.Duration("us")) + start,
            "quantity": rng.integers(1, 4, len(day)),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    log.filter(pl.col("timestamp") < until).sort("timestamp").write_parquet(folder / "log.new")
    (folder / "log.new").replace(folder / "log.parquet")


def write_shop(folder: Path, until: dt.datetime) -> Path:
    """Write a log, its catalogue and ``pipeline.yaml`` into ``folder``; return the configuration."""
    write_log(folder, until)
    names = pl.DataFrame(
        {"item_id": [f"i{number}" for number in range(ITEMS)], "name": [f"商品{n}" for n in range(ITEMS)]}
    )
    names.write_csv(folder / "items.csv")
    config = folder / "pipeline.yaml"
    config.write_text(
        """
schema_version: 1
source:
  name: habits
  interactions: {path: log.parquet, columns: {quantity: quantity}}
  items: {path: items.csv, columns: {name: name}}
clock: log_time
horizon_days: 7
repeat_purchases: true
training:
  algorithm: personal_frequency
  seed: 1
  user_list_length: 20
  similar_list_length: 10
  algorithms:
    ease: {maximum_items: 50000}
"""
    )
    return config


POLICY = """
schema_version: 1
name: live
on_no_baseline: pass
budgets: {error_minutes: 0.05, inconclusive_minutes: 0.05}
checks:
  - {name: data-quality, kind: data_quality, minimum_score: 90, tables: [interactions]}
  - {name: ndcg-floor, kind: absolute, metric: ndcg_at_10, at_least: 0.02, minimum_users: 50}
  - {name: ndcg-not-worse, kind: non_inferiority, metric: ndcg_at_10, relative_margin: 0.1, minimum_users: 50}
"""
