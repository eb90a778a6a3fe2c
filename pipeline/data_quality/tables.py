"""Measure one table: types, nulls, ranges, duplicates, references, the future, volume and drift."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pandera.polars as pa
import polars as pl

from model_release.contract import utc_now
from pipeline import ingest
from pipeline.config import PipelineConfig, Range
from pipeline.data_quality import drift, volume
from pipeline.data_quality.report import Measurement, TableQuality, share_score, table_quality
from pipeline.timestamps import TIMESTAMP
from pipeline.window import minute

_EARLIEST = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)  # before that it is a clock that was never set
_REQUIRED = ("user_id", "item_id")
_CORE = ("user_id", "item_id", "timestamp", "quantity", "price")


def lacking(names: list[str], there: list[str]) -> TableQuality:
    """Return the quality of a table without the columns ``names``: nothing else can be measured."""
    measurements = tuple(
        Measurement(name=f"schema: {name}", kind="schema", score=0.0, bad=1, of=1,
                    detail=f"no column {name!r}; there are {', '.join(there)}")
        for name in names
    )  # fmt: skip
    return table_quality(0, measurements)


def interactions(
    config: PipelineConfig, rows: pl.DataFrame, items: pl.DataFrame | None, *, now: dt.datetime, until: dt.datetime
) -> TableQuality:
    """Measure the interactions.

    Args:
        config: the pipeline's configuration.
        rows: all of them, as ``ingest.scan_interactions(config, given=True)`` gives them.
        items: the items, if they are configured.
        now: what "now" is for ages.
        until: end of what may be seen, exclusive; of later rows only those from the future are counted.
    """
    future = _future(rows)
    # A row without a readable time can't be placed after the end, so it counts.
    seen = rows.filter(pl.col("timestamp").is_null() | (pl.col("timestamp") < until))
    if seen.is_empty():
        empty = Measurement(
            name="rows", kind="rows", score=0.0, detail=f"no row before {minute(until, config.source.zone)}"
        )
        return table_quality(0, (empty, future))
    settings = config.data_quality
    amount = volume.measure(
        seen,
        until=until,
        history_weeks=settings.history_weeks,
        factor=settings.volume_factor,
        zone=config.source.zone,
    )
    moved = drift.measure(seen, until=until, recent_days=settings.drift_days, history_weeks=settings.history_weeks)
    shifted = [f"{part.what} shifted: PSI {part.psi:.2f}" for part in moved if part.psi >= drift.SHIFTED]
    measurements = [*_unreadable(seen, config), *_rules(seen, config), _duplicates(seen), future, amount.measurement]
    if items is not None:
        measurements.append(_references(seen, items))
    newest = seen["timestamp"].max()
    return table_quality(
        seen.height,
        tuple(measurements),
        age_seconds=_age(newest, now) if isinstance(newest, dt.datetime) else None,
        anomalies=(*([future.detail] if future.bad else []), *amount.odd_days, *shifted),
        drift=moved,
    )


def catalogue(rows: pl.DataFrame) -> TableQuality:
    """Measure the items, as ``ingest.scan_items`` gives them."""
    if rows.is_empty():
        return table_quality(0, (Measurement(name="rows", kind="rows", score=0.0, detail="no row"),))
    rules = _validate(rows, {"item_id": pa.Column(pl.String, _not_empty(), nullable=False)}, ["item_id"])
    known = rows.filter(pl.col("item_id").is_not_null())
    twice = known.height - known["item_id"].n_unique()
    measurements = [*rules, Measurement(name="duplicates: item_id", kind="duplicates", bad=twice, of=rows.height,
                                        score=share_score(twice, rows.height))]  # fmt: skip
    for name in ("name", "category"):
        if name in rows.columns:
            none = rows[name].null_count()
            measurements.append(Measurement(name=f"nulls: {name}", kind="rows", score=None, bad=none, of=rows.height))
    return table_quality(rows.height, tuple(measurements))


def _age(newest: dt.datetime, now: dt.datetime) -> float:
    """Return the age in seconds; a row that is ahead by no more than clocks differ is new."""
    age = (now - newest).total_seconds()
    return 0.0 if -ingest.CLOCK_SKEW.total_seconds() <= age < 0 else age


def _future(rows: pl.DataFrame) -> Measurement:
    late = rows.select((pl.col("timestamp") > pl.lit(utc_now() + ingest.CLOCK_SKEW)).sum()).item()
    detail = f"{late:,} rows are from the future" if late else ""
    score = share_score(late, rows.height) if rows.height else None
    return Measurement(name="future: timestamp", kind="future", score=score, bad=late, of=rows.height, detail=detail)


def _unreadable(rows: pl.DataFrame, config: PipelineConfig) -> list[Measurement]:
    """Count values that stand in the source and could not be read, and times that are not there at all."""
    found = []
    for meaning in ("timestamp", "quantity", "price"):
        given = f"given_{meaning}"
        if given not in rows.columns:
            continue
        bad, missing = rows.select(
            (pl.col(given) & pl.col(meaning).is_null()).sum().alias("bad"), (~pl.col(given)).sum().alias("missing")
        ).row(0)
        unreadable = _share(f"schema: {meaning}", "schema", bad, rows.height, scored=True)
        if bad:
            column = getattr(config.source.interactions.columns, meaning)
            unreadable = unreadable.model_copy(
                update={"detail": f"{unreadable.detail} in column {column!r} can't be read"}
            )
        found.append(unreadable)
        # An amount may be unknown; a row without a time is useless.
        found.append(
            _share(f"nulls: {meaning}", "nulls" if meaning == "timestamp" else "rows", missing, rows.height,
                   scored=meaning == "timestamp")
        )  # fmt: skip
    return found


def _rules(rows: pl.DataFrame, config: PipelineConfig) -> list[Measurement]:
    columns = {name: pa.Column(pl.String, _not_empty(), nullable=False) for name in _REQUIRED}
    columns["timestamp"] = pa.Column(TIMESTAMP, _check("ranges", lambda value: value >= _EARLIEST), nullable=True)
    for name, plausible in (("quantity", config.data_quality.quantity), ("price", config.data_quality.price)):
        if name in rows.columns:
            columns[name] = pa.Column(pl.Float64, _within(plausible), nullable=True)
    return _validate(rows, columns, [*columns])


def _validate(rows: pl.DataFrame, columns: dict[str, pa.Column], names: list[str]) -> list[Measurement]:
    """Let pandera look at every value, and count per column and kind what fails."""
    schema = pa.DataFrameSchema(columns)
    counts: dict[tuple[str, str], int] = {}
    try:
        schema.validate(rows.select(names), lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.group_by("column", "check").len()
        for column, check, count in cases.iter_rows():
            kind = "nulls" if check in {"not_nullable", "nulls"} else "ranges" if check == "ranges" else "schema"
            counts[column, kind] = counts.get((column, kind), 0) + count
    kinds = {name: "nulls" if name in _REQUIRED else "ranges" for name in names}
    expected = set(kinds.items()) | set(counts)
    return [
        _share(f"{kind}: {column}", kind, counts.get((column, kind), 0), rows.height, scored=True)
        for column, kind in sorted(expected)
    ]


def _not_empty() -> pa.Check:
    return _check("nulls", lambda value: value.str.len_bytes() > 0)


def _within(plausible: Range) -> pa.Check:
    def holds(value: pl.Expr) -> pl.Expr:
        good = value.is_finite()
        if plausible.at_least is not None:
            good &= value >= plausible.at_least
        if plausible.at_most is not None:
            good &= value <= plausible.at_most
        return good

    return _check("ranges", holds)


def _check(kind: str, holds: Callable[[pl.Expr], pl.Expr]) -> pa.Check:
    """Return a check that ``_validate`` counts as ``kind``; pandera's own ones are reported under names of theirs."""

    def look(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(holds(pl.col(data.key)).fill_null(value=True))

    return pa.Check(look, name=kind)


def _duplicates(rows: pl.DataFrame) -> Measurement:
    columns = [name for name in _CORE if name in rows.columns]
    copies = rows.height - rows.select(columns).n_unique()
    return _share("duplicates: whole rows", "duplicates", copies, rows.height, scored=True)


def _references(rows: pl.DataFrame, items: pl.DataFrame) -> Measurement:
    known = items["item_id"].drop_nulls().implode()
    lost = rows.select((~pl.col("item_id").is_in(known)).sum()).item()
    return _share("references: item_id", "references", lost, rows.height, scored=True)


def _share(name: str, kind: str, bad: int, of: int, *, scored: bool) -> Measurement:
    detail = f"{bad:,} of {of:,}" if bad else ""
    score = share_score(bad, of) if scored else None
    return Measurement.model_validate(
        {"name": name, "kind": kind, "score": score, "bad": bad, "of": of, "detail": detail}
    )
