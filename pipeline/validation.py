"""Compare algorithms on windows that lie before a cutoff: how ``auto`` chooses, without a look at the test window."""

from __future__ import annotations

import numpy as np
import polars as pl

from model_release.errors import InvalidInputError
from pipeline import metrics
from pipeline.algorithms.catalogue import make
from pipeline.algorithms.protocol import TrainingData
from pipeline.config import PipelineConfig
from pipeline.progress import step
from pipeline.ranking import Ints, rank_users
from pipeline.window import Window

_DEPTH = max(metrics.CUTOFFS.values())


def choose(config: PipelineConfig, rows: pl.DataFrame, window: Window) -> tuple[str, dict[str, float]]:
    """Return the best of ``training.auto`` by ``training.metric``, and the mean of each over the validation windows.

    Args:
        config: the pipeline's configuration.
        rows: interactions, all before ``window.start``.
        window: the test window; not looked at.

    Raises:
        InvalidInputError: no validation window has users to measure.
    """
    training = config.training
    if len(training.auto) == 1:
        return training.auto[0], {}
    found: dict[str, list[float]] = {name: [] for name in training.auto}
    for number in range(1, training.validation_windows + 1):
        for name, value in _measure(config, rows, window.earlier(number)).items():
            found[name].append(value)
    if not all(found.values()):
        raise InvalidInputError(
            f"nothing to validate on in the {training.validation_windows * config.horizon_days} days before "
            f"{window.as_of:%Y-%m-%d}: name an algorithm instead of auto, or take a later --as-of"
        )
    means = {name: float(np.mean(values)) for name, values in found.items()}
    # a tie goes to the one that is named first
    return max(means, key=lambda name: (means[name], -training.auto.index(name))), means


def _measure(config: PipelineConfig, rows: pl.DataFrame, window: Window) -> dict[str, float]:
    before = rows.filter(pl.col("timestamp") < window.start)
    after = rows.filter(pl.col("timestamp").is_between(window.start, window.end, closed="left"))
    if before.is_empty() or after.is_empty():
        return {}
    data = TrainingData.of(before, cutoff=window.start)
    truth = coded_truth(data, after, config=config)
    if truth is None:
        return {}
    users, items = truth
    means: dict[str, float] = {}
    for name in config.training.auto:
        with step(f"validate {name} on {window.as_of:%Y-%m-%d}") as doing:
            algorithm = make(name, config.training.algorithms.get(name, {}))
            fitted = algorithm.fit(data, seed=config.training.seed)
            lists = rank_users(fitted, data, depth=_DEPTH, repeat_purchases=config.repeat_purchases)
            means[name] = float(measure(lists, users, items, data.shape[1])[config.training.metric].mean())
            doing.note = f"{config.training.metric} {means[name]:.4f}"
    return means


def coded_truth(data: TrainingData, after: pl.DataFrame, *, config: PipelineConfig) -> tuple[Ints, Ints] | None:
    """Return (pairs,) codes of users and of the items they took afterwards, each pair once.

    Left out are unknown users (every algorithm answers them alike), and items they had already where those may not be
    recommended.  An item nobody took before counts as missed by every algorithm: code m.  None: nothing is left.
    """
    users = pl.DataFrame({"user_id": data.user_ids}).with_row_index("user")
    items = pl.DataFrame({"item_id": data.item_ids}).with_row_index("item")
    pairs = after.select("user_id", "item_id").unique().join(users, on="user_id").join(items, on="item_id", how="left")
    pairs = pairs.with_columns(pl.col("item").fill_null(data.shape[1]).cast(pl.Int32), pl.col("user").cast(pl.Int32))
    pairs = pairs.sort("user", "item", "item_id")
    user, item = pairs["user"].to_numpy(), pairs["item"].to_numpy()
    if not config.repeat_purchases:
        known = data.known.tocoo()
        had = np.isin(_keys(user, item, data.shape[1]), _keys(known.row, known.col, data.shape[1]))
        user, item = user[~had], item[~had]
    return (user, item) if len(user) else None


def measure(lists: Ints, users: Ints, items: Ints, catalogue: int) -> dict[str, metrics.Values]:
    """Return every metric for every user that has a pair in ``users``, ``items``, by user code."""
    asked, relevant = np.unique(users, return_counts=True)
    ranked = lists[asked]
    keys = _keys(np.repeat(asked, ranked.shape[1]), ranked.ravel(), catalogue)
    hits = np.isin(keys, _keys(users, items, catalogue)).reshape(ranked.shape) & (ranked >= 0)
    return metrics.per_user(hits, relevant)


def _keys(users: Ints, items: Ints, catalogue: int) -> metrics.Counts:
    return users.astype(np.int64) * (catalogue + 2) + items
