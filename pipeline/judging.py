"""What users did in a test window, and how well the lists of a run foresaw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from model_release import golden
from model_release.artifact import Manifest, ServedModel
from model_release.errors import InvalidInputError
from pipeline import daily, ingest, metrics
from pipeline.config import PipelineConfig
from pipeline.progress import step
from pipeline.window import Window

ITEM_SLICES = ("all", "new", "known")
USER_SLICES = ("low", "medium", "high")
_NOVELTY_AT = 10


@dataclass(frozen=True)
class Truth:
    """What happened in the window.

    Attributes:
        pairs: one row per user and item taken: ``user_id``, ``item_id``, ``known`` (taken by the user before).
        activity: ``user_id``, ``user_slice``: terciles of the number of interactions before the window; users
            without any are ``low``.
        buyers: ``item_id``, ``share`` of the users before the window who took it: for novelty.
        silent_users: users of the log before the window who did nothing in it; they are left out.
        daily_pairs: one row per user, day of the window and item taken: ``user_id``, ``day``, ``item_id``.
    """

    pairs: pl.DataFrame
    activity: pl.DataFrame
    buyers: pl.DataFrame
    silent_users: int
    daily_pairs: pl.DataFrame

    @classmethod
    def of(cls, config: PipelineConfig, window: Window) -> Truth:
        """Read the log up to the end of ``window``.

        Raises:
            InvalidInputError: nobody did anything in the window.
        """
        with step("read what happened in the test window") as doing:
            log = ingest.load_interactions(config, before=window.end)
            before = log.filter(pl.col("timestamp") < window.start)
            had = before.select("user_id", "item_id").unique().with_columns(known=True)
            inside = log.filter(pl.col("timestamp") >= window.start)
            pairs = inside.select("user_id", "item_id").unique()
            pairs = pairs.join(had, on=["user_id", "item_id"], how="left").with_columns(
                pl.col("known").fill_null(False)
            )
            if not config.repeat_purchases:  # what may not be recommended can't be missed
                pairs = pairs.filter(~pl.col("known"))
            pairs = pairs.sort("user_id", "item_id")
            daily_pairs = _daily_pairs(inside, pairs, config.source.timezone)
            doing.rows = pairs.height
        if pairs.is_empty():
            raise InvalidInputError(
                f"nothing to judge on from {window.as_of:%Y-%m-%d} to {window.local(window.end):%Y-%m-%d}: no user took "
                f"{'an item' if config.repeat_purchases else 'an item that was new to them'}"
            )
        users = before["user_id"].n_unique()
        return cls(
            pairs=pairs,
            activity=_activity(before, pairs),
            buyers=had.group_by("item_id").agg((pl.len() / max(users, 1)).alias("share")),
            silent_users=users - before.select("user_id").unique().join(pairs, on="user_id", how="semi").height,
            daily_pairs=daily_pairs,
        )

    @property
    def users(self) -> int:
        """Number of users who are measured."""
        return int(self.pairs["user_id"].n_unique())

    @property
    def cutoffs(self) -> Mapping[str, int]:
        """Length of the list that each metric looks at."""
        return metrics.CUTOFFS

    def per_user(self, sides: Sequence[Judged]) -> pl.DataFrame:
        """Return one row per user and item slice, with the metrics of every side: ``<side>_<metric>``."""
        parts = []
        for item_slice in ITEM_SLICES:
            frame = None
            for side in sides:
                values = side.values[item_slice]
                renamed = values.rename({name: f"{side.name}_{name}" for name in metrics.METRICS})
                frame = renamed if frame is None else frame.join(renamed, on="user_id", validate="1:1")
            if frame is not None:
                parts.append(frame.with_columns(item_slice=pl.lit(item_slice)))
        table = pl.concat(parts).join(self.activity, on="user_id", how="left", maintain_order="left")
        leading = ["user_id", "user_slice", "item_slice"]
        return table.select(*leading, pl.exclude(leading)).sort("item_slice", "user_id")

    def means(self, per_user: pl.DataFrame, sides: Sequence[Judged]) -> dict[str, dict[str, float]]:
        """Return the mean of every metric over all users and items, by side."""
        return _means(per_user.filter(pl.col("item_slice") == "all"), sides)

    def slices(self, per_user: pl.DataFrame, sides: Sequence[Judged]) -> dict[str, Any]:
        """Return users and means of every slice that has users: activity (all items), new and known items (all users)."""
        found = {}
        everything = pl.col("item_slice") == "all"
        parts = {f"{name} users": everything & (pl.col("user_slice") == name) for name in USER_SLICES}
        parts |= {f"{name} items": pl.col("item_slice") == name for name in ITEM_SLICES[1:]}
        for label, rows in parts.items():
            part = per_user.filter(rows)
            if part.height:
                found[label] = {"users": part.height, **_means(part, sides)}
        return found


@dataclass(frozen=True)
class Judged:
    """How one run did.

    Attributes:
        name: ``candidate`` or ``current``.
        values: per item slice a frame with ``user_id`` and one column per metric.
        catalogue: coverage, novelty and list length.
        unknown_users: users the run did not know, who got popular items.
        daily: the promise for single days.
    """

    name: str
    values: Mapping[str, pl.DataFrame]
    catalogue: dict[str, float]
    unknown_users: int
    daily: daily.Daily

    @classmethod
    def of(cls, truth: Truth, name: str, model: ServedModel, manifest: Manifest) -> Judged:
        """Ask ``model`` for the list of every user in the window, as the API would, and compare."""
        users = truth.pairs["user_id"].unique().sort()
        depth = model.depth
        answers = [golden.answer(model, "recommend", user, depth) for user in users]
        unknown = sum(model.recommend(user, 1) is None for user in users)
        ranked = (
            pl.DataFrame(
                {"user_id": users, "item_id": [list(answer) for answer in answers]},
                schema={"user_id": pl.String, "item_id": pl.List(pl.String)},  # also if every answer is empty
            )
            .with_columns(rank=pl.int_ranges(pl.col("item_id").list.len()))
            .explode("item_id", "rank")
            .drop_nulls("item_id")
        )
        values = {}
        for item_slice in ITEM_SLICES:
            pairs = truth.pairs
            if item_slice != "all":
                pairs = pairs.filter(pl.col("known") == (item_slice == "known"))
            values[item_slice] = _values(ranked, pairs)
        lengths = np.array([len(answer) for answer in answers])
        promised = daily.Daily.of(truth.daily_pairs.join(ranked, on=["user_id", "item_id"], how="left"))
        return cls(name, values, _catalogue(ranked, truth, manifest, lengths), unknown, promised)


def _daily_pairs(inside: pl.DataFrame, pairs: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Return what was taken on each day of the window, of what counts there at all."""
    day = pl.col("timestamp").dt.convert_time_zone(zone).dt.date().alias("day")
    taken = inside.select("user_id", day, "item_id").unique()
    return taken.join(pairs, on=["user_id", "item_id"], how="semi").sort("user_id", "day", "item_id")


def _values(ranked: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the metrics of every user in ``pairs``, each user once."""
    relevant = pairs.group_by("user_id").len("relevant").sort("user_id").with_row_index("row")
    deepest = max(metrics.CUTOFFS.values())
    hits = np.zeros((relevant.height, deepest), bool)
    found = ranked.filter(pl.col("rank") < deepest).join(pairs, on=["user_id", "item_id"], how="semi")
    found = found.join(relevant, on="user_id")
    hits[found["row"].to_numpy(), found["rank"].to_numpy()] = True
    values = metrics.per_user(hits, relevant["relevant"].cast(pl.Int64).to_numpy())
    return relevant.select("user_id").with_columns(**{name: pl.Series(value) for name, value in values.items()})


def _catalogue(
    ranked: pl.DataFrame, truth: Truth, manifest: Manifest, lengths: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, float]:
    """Return coverage (share of the catalogue among all first tens), novelty (bits) and mean list length.

    Novelty is the mean of -log2(share of users who took the item before), source: Vargas, Castells, "Rank and
    relevance in novelty and diversity metrics for recommender systems", RecSys 2011; an item nobody took counts as
    taken by half a user.
    """
    top = ranked.filter(pl.col("rank") < _NOVELTY_AT)
    least = 0.5 / max(manifest.data.users, 1)
    shares = top.join(truth.buyers, on="item_id", how="left").select(pl.col("share").fill_null(least))["share"]
    return {
        "coverage": top["item_id"].n_unique() / manifest.data.items,
        "novelty": float(-np.log2(shares.to_numpy()).mean()) if len(shares) else 0.0,
        "list_length": float(lengths.mean()),
    }


def _activity(before: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Cut the users of the window into terciles by their interactions before it; equal counts stay together."""
    counts = before.group_by("user_id").len("count")
    users = (
        pairs.select("user_id")
        .unique()
        .join(counts, on="user_id", how="left")
        .with_columns(pl.col("count").fill_null(0))
    )
    low, high = (users["count"].quantile(q, interpolation="lower") for q in (1 / 3, 2 / 3))
    label = (
        pl.when(pl.col("count") <= low)
        .then(pl.lit("low"))
        .when(pl.col("count") <= high)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("high"))
    )
    return users.select("user_id", label.alias("user_slice"))


def _means(rows: pl.DataFrame, sides: Sequence[Judged]) -> dict[str, dict[str, float]]:
    return {
        side.name: {name: float(rows[f"{side.name}_{name}"].to_numpy().mean()) for name in metrics.METRICS}
        for side in sides
    }
