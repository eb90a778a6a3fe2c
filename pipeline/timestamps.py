"""Read a column of times, however it is written, as times in UTC."""

from __future__ import annotations

import polars as pl

TIMESTAMP = pl.Datetime("us", "UTC")
_OFFSET_FORMATS = (  # ISO 8601 with an offset or Z
    "%+",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
)
_NAIVE_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
)
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d")
_EPOCH = r"^\d{9,17}$"
_EPOCH_WITH_FRACTION = r"^\d{9,17}\.\d*$"  # 1483228800.0, as pandas writes integers beside nulls
_MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138
_MICROSECONDS_FROM = 10**14


def utc(schema: pl.Schema, name: str, zone: str) -> pl.Expr:
    """Return the column ``name`` as a time in UTC; what can't be read, or does not exist in ``zone``, is null."""
    column, kind = pl.col(name), schema[name]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return column.dt.convert_time_zone("UTC").cast(TIMESTAMP)
    if isinstance(kind, pl.Datetime) or kind == pl.Date:
        return _in_zone(column.cast(pl.Datetime("us")), zone)
    if kind.is_integer():
        return _epoch(column.cast(pl.Int64, strict=False))  # 32 bits hold seconds, but not their microseconds
    if kind.is_float():
        return _epoch(column.cast(pl.Float64))
    text = column.cast(pl.String).str.strip_chars()
    aware = [
        text.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False) for pattern in _OFFSET_FORMATS
    ]
    naive = [text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _NAIVE_FORMATS]
    naive += [text.str.to_date(pattern, strict=False).cast(pl.Datetime("us")) for pattern in _DATE_FORMATS]
    epochs = [
        _epoch(pl.when(text.str.contains(pattern)).then(text).cast(number, strict=False))
        for pattern, number in ((_EPOCH, pl.Int64), (_EPOCH_WITH_FRACTION, pl.Float64))
    ]
    return pl.coalesce(*aware, _in_zone(pl.coalesce(naive), zone), *epochs)


def _in_zone(column: pl.Expr, zone: str) -> pl.Expr:
    local = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(TIMESTAMP)


def _epoch(column: pl.Expr) -> pl.Expr:
    """Read seconds, milliseconds or microseconds since 1970, told apart by their size."""
    micros = (
        pl.when(column.abs() < _MILLISECONDS_FROM)
        .then(column * 1_000_000)
        .when(column.abs() < _MICROSECONDS_FROM)
        .then(column * 1_000)
        .otherwise(column)
    )
    return micros.cast(pl.Int64, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
