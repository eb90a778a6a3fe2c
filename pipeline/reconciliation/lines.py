"""The lines of the exposure log as frames, block by block: a day need not fit into memory.

A sound block is read at once.  One that holds anything odd is read line by line by the schema of the log itself, which
says what counts: so both ways give the same, but that a sound block takes a number for an id as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from model_release.exposures import Exposure, parse

BLOCK_BYTES = 32 << 20
LONGEST_LIST = 20  # the deepest cutoff of a metric

_TIME = pl.Datetime("us", "UTC")
_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "schema_version": pl.Int64,
    "kind": pl.String,
    "at": pl.String,
    "received_at": pl.String,
    "request_id": pl.String,
    "endpoint": pl.String,
    "id": pl.String,
    "k": pl.Int64,
    "run_id": pl.String,
    "variant": pl.String,
    "generation": pl.Int64,
    "items": pl.List(pl.String),
    "known": pl.Boolean,
    "latency_ms": pl.Float64,
    "replica": pl.String,
    "worker": pl.Int64,
    "user": pl.String,
    "item": pl.String,
    "type": pl.String,
}
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,
    "at": _TIME,
    "user": pl.String,
    "item": pl.String,
    "type": pl.String,
    "endpoint": pl.String,
    "k": pl.Int64,
    "run_id": pl.String,
    "variant": pl.String,
    "generation": pl.Int64,
    "items": pl.List(pl.String),
    "replica": pl.String,
}


def blocks(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the complete lines of a file in pieces of about ``size`` bytes; a torn last line never counts.

    Raises:
        OSError: the file can't be read, or is gone.
    """
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(size):
            data = rest + piece
            cut = data.rfind(b"\n") + 1
            if cut:
                yield data[:cut]
            rest = data[cut:]


def read_block(block: bytes) -> tuple[pl.DataFrame, int]:
    """Return the records of some complete lines, and how many lines can't be read.

    Columns: ``kind``, ``at``, ``replica``; of an answer ``user`` (of ``similar`` the item), ``endpoint``, ``k``, ``run_id``,
    ``variant``, ``generation`` and the first 20 ``items``; of an outcome ``user``, ``item``, ``type``.
    """
    try:
        raw = pl.read_ndjson(block, schema=_SCHEMA)
    except pl.exceptions.PolarsError:
        return _one_by_one(block)
    frame = raw.with_columns(
        pl.col("at").str.to_datetime(_FORMAT, time_unit="us", time_zone="UTC", strict=False),
        user=pl.when(pl.col("kind") == "exposure").then("id").otherwise("user"),
        items=pl.col("items").list.head(LONGEST_LIST),
    )
    if raw.height != block.count(b"\n") or not raw.select(_sound()).to_series().all() or frame["at"].has_nulls():
        return _one_by_one(block)
    return frame.select(*_COLUMNS), 0


def _sound() -> pl.Expr:
    """Whether a line is certainly one that the schema takes; null and False both mean: look at it."""
    ids = pl.col("id").str.len_chars().is_between(1, 256)
    exposure = (
        ids
        & (pl.col("k") >= 1)
        & (pl.col("generation") >= 0)
        & (pl.col("latency_ms") >= 0)
        & pl.col("known").is_not_null()
        & pl.col("items").is_not_null()
        & (pl.col("items").list.drop_nulls().list.len() == pl.col("items").list.len())
        & pl.col("endpoint").is_in(["recommend", "similar"])
        & pl.col("variant").is_in(["current", "candidate", "degraded"])
        & (pl.col("run_id").is_null() | pl.col("run_id").str.contains(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))
        & pl.col("request_id").str.contains(r"^[A-Za-z0-9._:+-]{1,128}$")
    )
    event = (
        pl.col("user").str.len_chars().is_between(1, 256)
        & pl.col("item").str.len_chars().is_between(1, 256)
        & pl.col("type").str.contains(r"^[a-z][a-z0-9_]{0,31}$")
        & pl.col("received_at").str.to_datetime(_FORMAT, strict=False).is_not_null()
        & (pl.col("request_id").is_null() | pl.col("request_id").str.contains(r"^[A-Za-z0-9._:+-]{1,128}$"))
    )
    always = (pl.col("schema_version") == 1) & pl.col("replica").is_not_null() & (pl.col("worker") >= 0)
    kind = pl.when(pl.col("kind") == "exposure").then(exposure).when(pl.col("kind") == "event").then(event)
    return (always & kind.otherwise(pl.lit(value=False))).fill_null(value=False)


def _one_by_one(block: bytes) -> tuple[pl.DataFrame, int]:
    rows: list[dict[str, object]] = []
    unreadable = 0
    for line in block.split(b"\n")[:-1]:
        try:
            record = parse(line)
        except ValidationError:
            unreadable += 1
            continue
        row: dict[str, object] = dict.fromkeys(_COLUMNS)
        row |= {name: value for name, value in record.model_dump().items() if name in _COLUMNS}
        if isinstance(record, Exposure):
            row |= {"user": record.id, "items": list(record.items[:LONGEST_LIST])}
        rows.append(row)
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row"), unreadable
