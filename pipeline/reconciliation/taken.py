"""What people did on a day: interactions of the source, and outcomes that the API took."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from model_release.errors import ConfigurationError
from pipeline import ingest
from pipeline.config import PipelineConfig
from pipeline.progress import step
from pipeline.reconciliation.day import Day

EMPTY = pl.DataFrame(schema={"user": pl.String, "item": pl.String, "at": pl.Datetime("us", "UTC")})


@dataclass(frozen=True)
class Interactions:
    """The interactions of a day.

    Attributes:
        rows: ``user``, ``item``, ``at``; empty if there are none.
        newest: the time of the source's newest row, of whatever day; None: it has none, or can't be read.
        problem: why nothing is known; empty if something is.
    """

    rows: pl.DataFrame
    newest: dt.datetime | None
    problem: str = ""


def interactions(config: PipelineConfig, day: Day) -> Interactions:
    """Read the usable interactions of a day from the configured source, without reading the rest of it into memory."""
    source = config.source.interactions
    try:
        with step("read the interactions of the day") as doing:
            usable = ingest.scan_interactions(config).filter(ingest.usable())
            newest = usable.select(pl.col("timestamp").max()).collect(engine="streaming").item()
            inside = pl.col("timestamp").is_between(day.start, day.end, closed="left")
            rows = usable.filter(inside).select(user="user_id", item="item_id", at="timestamp")
            found = rows.collect(engine="streaming")
            doing.rows = found.height
    except (ConfigurationError, pl.exceptions.PolarsError, OSError) as error:
        return Interactions(EMPTY, None, f"{source.path} can't be read: {str(error).splitlines()[0]}")
    if found.is_empty():
        return Interactions(EMPTY, newest, f"{source.path} has no interaction of {day.date}")
    return Interactions(found, newest)


def had_before(config: PipelineConfig, pairs: pl.DataFrame, as_of: dt.datetime) -> pl.DataFrame:
    """Return those of ``pairs`` (``user``, ``item``) that the source has before ``as_of``: what is not recommended again."""
    rows = ingest.scan_interactions(config).filter(ingest.usable() & (pl.col("timestamp") < as_of))
    known = rows.select(user="user_id", item="item_id").join(pairs.lazy(), on=["user", "item"], how="semi")
    return known.unique().collect(engine="streaming")
