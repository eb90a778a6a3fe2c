"""Read interactions and items, whatever their file format and column names, into one shape.

Interactions: ``user_id`` String, ``item_id`` String, ``timestamp`` Datetime[us, UTC], and, if configured, ``quantity``
and ``price`` Float64.  Items: ``item_id`` String, and, if configured, ``name`` and ``category`` String.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.resources
from pathlib import Path

import polars as pl

from model_release.artifact import DataSnapshot
from model_release.contract import utc_now
from model_release.errors import ConfigurationError, InvalidInputError
from pipeline.config import PipelineConfig
from pipeline.progress import step
from pipeline.window import Window, resolve_as_of

CLOCK_SKEW = dt.timedelta(minutes=5)  # between the machine that wrote the log and this one
PACKAGE_SCHEME = "package://"
TIMESTAMP = pl.Datetime("us", "UTC")
_OFFSET_FORMAT = "%+"  # ISO 8601 with an offset or Z
_NAIVE_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
)
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d")
_MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138
_MICROSECONDS_FROM = 10**14


def locate(path: str, folder: Path) -> str:
    """Return the file, or the pattern of files, that a ``path`` of the configuration means.

    Raises:
        ConfigurationError: the package is not installed, or nothing is there.
    """
    if path.startswith(PACKAGE_SCHEME):
        package, _, inside = path.removeprefix(PACKAGE_SCHEME).partition("/")
        try:
            found = Path(str(importlib.resources.files(package).joinpath(inside)))
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{path}: the package {package!r} is not installed") from error
    else:
        found = folder / path
    if any(sign in found.name for sign in "*?["):
        if not any(found.parent.glob(found.name)):
            raise ConfigurationError(f"{path}: no file matches {found}")
    elif not found.is_file():
        raise ConfigurationError(f"{path}: there is no file {found}")
    return str(found)


def scan(path: str, folder: Path) -> pl.LazyFrame:
    """Open a Parquet or CSV source lazily; CSV columns come as text.

    Raises:
        ConfigurationError: it is not there, can't be read, or is neither.
    """
    found = locate(path, folder)
    suffixes = Path(found.removesuffix(".gz")).suffix.lower()
    try:
        if suffixes in {".parquet", ".pq"}:
            frame = pl.scan_parquet(found)
        elif suffixes in {".csv", ".tsv"}:
            frame = pl.scan_csv(found, infer_schema=False, separator="\t" if suffixes == ".tsv" else ",")
        else:
            raise ConfigurationError(f"{path}: neither Parquet (.parquet) nor CSV (.csv, .tsv)")
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigurationError(f"{found} can't be read: {error}") from error
    return frame


def missing_columns(config: PipelineConfig) -> dict[str, list[str]]:
    """Return, per configured table, the configured columns that its source does not have.

    Raises:
        ConfigurationError: a source is not there or can't be read.
    """
    source = config.source
    columns = source.interactions.columns
    schema = scan(source.interactions.path, config.folder).collect_schema()
    found = {"interactions": [name for name in columns.model_dump().values() if name and name not in schema]}
    if source.items is not None:
        schema = scan(source.items.path, config.folder).collect_schema()
        found["items"] = [name for name in source.items.columns.used if name not in schema]
    return found


def scan_interactions(config: PipelineConfig, *, given: bool = False) -> pl.LazyFrame:
    """Open the interactions in the shape above, all rows of them, usable or not: values that can't be read are null.

    Args:
        config: the pipeline's configuration.
        given: add ``given_timestamp``, ``given_quantity`` and ``given_price``: whether the source says anything there,
            which tells what is unreadable from what is missing.

    Raises:
        ConfigurationError: a configured column is missing; the message names it and those that are there.
    """
    source = config.source.interactions
    frame = scan(source.path, config.folder)
    columns = source.columns
    schema = frame.collect_schema()
    _need(schema, [name for name in columns.model_dump().values() if name], f"source.interactions ({source.path})")
    selected = [
        _identifier(schema, columns.user_id).alias("user_id"),
        _identifier(schema, columns.item_id).alias("item_id"),
        _timestamp(schema, columns.timestamp, config.source.timezone).alias("timestamp"),
    ]
    for meaning, name in (("quantity", columns.quantity), ("price", columns.price)):
        if name is not None:
            selected.append(pl.col(name).cast(pl.Float64, strict=False).alias(meaning))
    if given:
        pairs = (("timestamp", columns.timestamp), ("quantity", columns.quantity), ("price", columns.price))
        selected += [_given(name).alias(f"given_{meaning}") for meaning, name in pairs if name is not None]
    return frame.select(selected)


def load_interactions(
    config: PipelineConfig, *, since: dt.datetime | None = None, before: dt.datetime | None = None
) -> pl.DataFrame:
    """Return the usable rows with ``since`` <= timestamp < ``before``, in the order of the source.

    Raises:
        InvalidInputError: none is left.
    """
    with step("load interactions") as doing:
        frame = scan_interactions(config).filter(usable())
        if since is not None:
            frame = frame.filter(pl.col("timestamp") >= since)
        if before is not None:
            frame = frame.filter(pl.col("timestamp") < before)
        rows = frame.collect()
        doing.rows = rows.height
    if rows.is_empty():
        raise InvalidInputError(
            f"no usable interaction in {config.source.interactions.path} from {since or 'the beginning'} "
            f"to {before or 'the end'}"
        )
    return rows


def usable() -> pl.Expr:
    """Whether a row has a user, an item and a time."""
    ids = (pl.col(name).is_not_null() & (pl.col(name).str.len_bytes() > 0) for name in ("user_id", "item_id"))
    return pl.all_horizontal(*ids, pl.col("timestamp").is_not_null())


def scan_items(config: PipelineConfig) -> pl.LazyFrame | None:
    """Open the items in the shape above, all rows of them; None if none are configured.

    Raises:
        ConfigurationError: a configured column is missing.
    """
    source = config.source.items
    if source is None:
        return None
    frame = scan(source.path, config.folder)
    columns = source.columns
    schema = frame.collect_schema()
    _need(schema, list(columns.used), f"source.items ({source.path})")
    selected = [_identifier(schema, columns.item_id).alias("item_id")]
    if columns.name_columns:
        parts = [pl.col(name).cast(pl.String) for name in columns.name_columns]
        name = pl.concat_str(parts, separator=" ", ignore_nulls=True)
        selected.append(pl.when(name.str.len_bytes() > 0).then(name).alias("name"))
    if columns.category is not None:
        selected.append(pl.col(columns.category).cast(pl.String).alias("category"))
    return frame.select(selected)


def load_items(config: PipelineConfig) -> pl.DataFrame:
    """Return the items, one row each, with ``name`` and ``category`` (null where there is none)."""
    frame = scan_items(config)
    if frame is None:
        return pl.DataFrame(schema={"item_id": pl.String, "name": pl.String, "category": pl.String})
    missing = [
        pl.lit(None, pl.String).alias(name) for name in ("name", "category") if name not in frame.collect_schema()
    ]
    items = frame.with_columns(missing).filter(pl.col("item_id").is_not_null())
    return items.select("item_id", "name", "category").unique("item_id", keep="first", maintain_order=True).collect()


def log_span(config: PipelineConfig) -> tuple[dt.datetime, dt.datetime]:
    """Return the times of the first and the last usable interaction; rows from the future don't count.

    Raises:
        InvalidInputError: there is none.
    """
    span = (
        scan_interactions(config)
        .filter(usable() & (pl.col("timestamp") <= pl.lit(utc_now() + CLOCK_SKEW)))
        .select(pl.col("timestamp").min().alias("first"), pl.col("timestamp").max().alias("last"))
    )
    first, last = span.collect().row(0)
    if first is None:
        raise InvalidInputError(f"{config.source.interactions.path} has no usable interaction")
    return first, last


def resolve_window(config: PipelineConfig, as_of: dt.datetime | None = None) -> Window:
    """Return the window of a run; see ``pipeline.window.resolve_as_of``."""
    first, last = log_span(config)
    return resolve_as_of(as_of, first=first, last=last, horizon_days=config.horizon_days, zone=config.source.zone)


def snapshot(config: PipelineConfig, rows: pl.DataFrame) -> DataSnapshot:
    """Describe the data a run is trained on; ``content_sha256`` is the hash of its rows written as CSV."""
    digest = hashlib.sha256()
    columns = [name for name in ("user_id", "item_id", "timestamp", "quantity", "price") if name in rows.columns]
    for part in rows.select(columns).with_columns(pl.col("timestamp").to_physical()).iter_slices(200_000):
        digest.update(part.write_csv(include_header=False).encode())
    times = rows["timestamp"]
    return DataSnapshot(
        source=config.source.name,
        rows=rows.height,
        users=rows["user_id"].n_unique(),
        items=rows["item_id"].n_unique(),
        first_timestamp=times.min(),
        last_timestamp=times.max(),
        content_sha256=digest.hexdigest(),
    )


def _need(schema: pl.Schema, wanted: list[str], where: str) -> None:
    missing = [name for name in wanted if name not in schema]
    if missing:
        raise ConfigurationError(
            f"{where} has no column {missing[0]!r}; it has {', '.join(schema.names())}: correct `columns` in the configuration"
        )


def _given(name: str) -> pl.Expr:
    column = pl.col(name)
    return column.is_not_null() & (column.cast(pl.String, strict=False).str.strip_chars().str.len_bytes() > 0)


def _identifier(schema: pl.Schema, name: str) -> pl.Expr:
    column = pl.col(name)
    if schema[name].is_float():  # 17.0, as pandas writes integers beside nulls
        column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String)


def _timestamp(schema: pl.Schema, name: str, zone: str) -> pl.Expr:
    """Read a column as a time in UTC; what can't be read, or does not exist in ``zone``, is null."""
    column, kind = pl.col(name), schema[name]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return column.dt.convert_time_zone("UTC").cast(TIMESTAMP)
    if isinstance(kind, pl.Datetime):
        return _in_zone(column.cast(pl.Datetime("us")), zone)
    if kind == pl.Date:
        return _in_zone(column.cast(pl.Datetime("us")), zone)
    if kind.is_integer():
        return _epoch(column)
    text = column.cast(pl.String).str.strip_chars()
    naive = [text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _NAIVE_FORMATS]
    naive += [text.str.to_date(pattern, strict=False).cast(pl.Datetime("us")) for pattern in _DATE_FORMATS]
    aware = text.str.to_datetime(_OFFSET_FORMAT, time_unit="us", time_zone="UTC", strict=False)
    epoch = _epoch(pl.when(text.str.contains(r"^\d{9,17}$")).then(text).cast(pl.Int64, strict=False))
    return pl.coalesce(aware, _in_zone(pl.coalesce(naive), zone), epoch)


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
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
