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
from pipeline import timestamps
from pipeline.config import Interactions, Items, PipelineConfig
from pipeline.progress import step
from pipeline.window import Window, minute, resolve_as_of

CLOCK_SKEW = dt.timedelta(minutes=5)  # between the machine that wrote the log and this one
PACKAGE_SCHEME = "package://"


def locate(path: str, folder: Path) -> str:
    """Return the file, or the pattern of files, that a ``path`` of the configuration means.

    Raises:
        ConfigurationError: the package is not installed, or nothing is there.
    """
    if path.startswith(PACKAGE_SCHEME):
        package, _, inside = path.removeprefix(PACKAGE_SCHEME).partition("/")
        try:
            found = Path(str(importlib.resources.files(package).joinpath(inside)))
        except (ModuleNotFoundError, ValueError) as error:
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
    suffix = _suffix(found)
    try:
        if suffix in {".parquet", ".pq"}:
            frame = pl.scan_parquet(found)
        elif suffix in {".csv", ".tsv"}:
            frame = pl.scan_csv(found, infer_schema=False, separator="\t" if suffix == ".tsv" else ",")
        else:
            raise ConfigurationError(f"{path}: neither Parquet (.parquet) nor CSV (.csv, .tsv)")
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigurationError(f"{found} can't be read: {error}") from error
    return frame


def collect(frame: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Read what was opened by ``scan``.

    Raises:
        ConfigurationError: it is damaged further in, or is no UTF-8.
    """
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"{path} can't be read: {reason}; expected whole rows, and CSV in UTF-8") from error


def _suffix(found: str) -> str:
    """Return the kind of a file, or of the first file of a pattern."""
    file = Path(found)
    first = min(file.parent.glob(file.name)) if any(sign in file.name for sign in "*?[") else file
    return Path(first.name.removesuffix(".gz")).suffix.lower()


def missing_columns(config: PipelineConfig, table: str) -> list[str]:
    """Return the configured columns that the source of ``table``, ``interactions`` or ``items``, does not have.

    Raises:
        ConfigurationError: the source is not there or can't be read.
    """
    source: Interactions | Items | None = getattr(config.source, table)
    if source is None:
        return []
    schema = scan(source.path, config.folder).collect_schema()
    return [name for name in source.columns.used if name not in schema]


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
    _need(schema, list(columns.used), f"source.interactions ({source.path})")
    selected = [
        _identifier(schema, columns.user_id).alias("user_id"),
        _identifier(schema, columns.item_id).alias("item_id"),
        timestamps.utc(schema, columns.timestamp, config.source.timezone).alias("timestamp"),
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
        rows = collect(frame, config.source.interactions.path)
        doing.rows = rows.height
    if rows.is_empty():
        raise InvalidInputError(
            f"no usable interaction in {config.source.interactions.path} from "
            f"{minute(since, config.source.zone) if since else 'the beginning'} to "
            f"{minute(before, config.source.zone) if before else 'the end'}{_why_unusable(config)}"
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
    items = items.select("item_id", "name", "category").unique("item_id", keep="first", maintain_order=True)
    return collect(items, "source.items")


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
    first, last = collect(span, config.source.interactions.path).row(0)
    if first is None:
        raise InvalidInputError(f"{config.source.interactions.path} has no usable interaction{_why_unusable(config)}")
    return first, last


def _why_unusable(config: PipelineConfig) -> str:
    """Name the column without a single usable value, with one of its values; empty if that is not the reason."""
    source = config.source.interactions
    raw, rows = scan(source.path, config.folder), scan_interactions(config)
    for meaning in ("timestamp", "user_id", "item_id"):
        name = getattr(source.columns, meaning)
        good = pl.col(meaning).is_not_null()
        if meaning != "timestamp":
            good &= pl.col(meaning).str.len_bytes() > 0
        if collect(rows.select(good.any()), source.path).item():
            continue
        given = collect(raw.filter(_given(name)).select(pl.col(name).first()), source.path).to_series().to_list()
        what = (
            "no value" if given in ([], [None]) else f"no value that can be read; the first is {str(given[0])[:80]!r}"
        )
        return f": column {name!r} (source.interactions.columns.{meaning}) has {what}"
    return ""


def resolve_window(
    config: PipelineConfig, as_of: dt.datetime | None = None, *, span: tuple[dt.datetime, dt.datetime] | None = None
) -> Window:
    """Return the window of a run; see ``pipeline.window.resolve_as_of``."""
    first, last = span or log_span(config)
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
    if schema[name].is_float():  # 17.0, as pandas writes integers beside nulls; 17.5 is no id
        column = pl.when(column == column.floor()).then(column).cast(pl.Int64, strict=False)
    return column.cast(pl.String)
