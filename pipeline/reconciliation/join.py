"""Each thing that somebody took on a day, with the answer that they had seen last before it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipeline.reconciliation.log import DayLog

_ATTRIBUTED = {
    "run_id": pl.String,
    "variant": pl.String,
    "user": pl.String,
    "item": pl.String,
    "k": pl.Int64,
    "rank": pl.Int64,
}


@dataclass(frozen=True)
class Joined:
    """The outcome of the join.

    Attributes:
        taken: a row per thing taken after an answer: ``run_id``, ``variant``, ``user``, ``item``, ``k`` of the answer, and
            ``rank`` of the item in it, 0 first, null: it is not among the first 20.
        users: ``run_id``, ``variant``, ``users``: different users who were answered.
        events: outcomes of the types that count, each once.
        takers: users who took something, whether they were answered or not.
    """

    taken: pl.DataFrame
    users: pl.DataFrame
    events: int
    takers: int


def join(log: DayLog, interactions: pl.DataFrame, *, types: tuple[str, ...], use_events: bool) -> Joined:
    """Join part by part, so that only a part of the day's answers is in memory.

    Args:
        log: the day's log.
        interactions: ``user``, ``item``, ``at``.
        types: outcomes of these types count as taken.
        use_events: whether outcomes count beside the interactions.
    """
    placed = interactions.with_columns(part=log.part_of())
    taken, users, events, takers = [pl.DataFrame(schema=_ATTRIBUTED)], [], 0, 0
    for part in range(log.parts):
        shown = log.shown(part)
        done = log.done(part).filter(pl.col("type").is_in(types)).select("user", "item", "at").unique()
        events += done.height
        here = placed.filter(pl.col("part") == part).select("user", "item", "at")
        everything = pl.concat([here, done]).unique() if use_events else here.unique()
        takers += everything["user"].n_unique()
        users.append(shown.group_by("run_id", "variant").agg(users=pl.col("user").n_unique()))
        taken.append(attribute(shown, everything))
    counted = pl.concat(users).group_by("run_id", "variant").agg(pl.col("users").sum())
    return Joined(pl.concat(taken), counted, events, takers)


def attribute(shown: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Return what was taken after an answer, with the last answer before it; what nobody was answered before is left out.

    Args:
        shown: ``user``, ``at``, ``k``, ``run_id``, ``variant``, ``items``: answers, in any order.
        taken: ``user``, ``item``, ``at``.
    """
    answers = shown.sort("user", "at", "run_id", "variant", "k").with_row_index("answer")
    after = taken.sort("user", "at", "item").join_asof(
        answers.select("user", "at", "answer", shown_at="at"), on="at", by="user", check_sortedness=False
    )
    after = after.drop_nulls("answer").with_row_index("taking").select("taking", "user", "item", "answer")
    after = after.join(answers.select("answer", "run_id", "variant", "k", "items"), on="answer", how="left")
    listed = (
        after.select("taking", "item", "items", rank=pl.int_ranges(pl.col("items").list.len()))
        .explode("items", "rank", empty_as_null=False)
        .filter(pl.col("item") == pl.col("items"))
        .group_by("taking")
        .agg(pl.col("rank").min().cast(pl.Int64))
    )
    return after.join(listed, on="taking", how="left", maintain_order="left").select(*_ATTRIBUTED)
