"""Every kind of dirt is seen: which measurement it lowers, by how much, and that the score follows the worst."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from pipeline.data_quality.report import QualityReport, TableQuality
from pipeline.data_quality_v2 import check_data
from tests.pipeline.logs import DAY, END, Source

ROWS = 1200 - 15  # of the last day the newest window's end cuts off 15
BAD = 30
VISIBLE_UNTIL = END - DAY  # the newest row is of the evening before END, so the newest whole window ends a day earlier


def score(bad: int, rows: int) -> float:
    """Return the score of ``bad`` of ``rows``."""
    return 100 * (1 - bad / rows)


def measured(source: Source, paths: ReleasePaths, **changes: Any) -> QualityReport:
    """Measure with the usual configuration."""
    return check_data(source.config(**changes), paths)


def named(table: TableQuality) -> dict[str, float | None]:
    """Return the scores of all measurements of a table."""
    return {part.name: part.score for part in table.measurements}


def first(name: str, value: Any) -> pl.Expr:
    """Put ``value`` into the first rows of a column."""
    return pl.when(pl.int_range(pl.len()) < BAD).then(value).otherwise(pl.col(name)).alias(name)


def test_a_clean_log_scores_100_everywhere(grocery: Source, paths: ReleasePaths) -> None:
    """All measurements are made, all are good, nothing is odd."""
    report = measured(grocery, paths)
    rows, items = report.tables["interactions"], report.tables["items"]
    assert named(rows) == {
        "schema: timestamp": 100, "nulls: timestamp": 100, "schema: quantity": 100, "nulls: quantity": None,
        "schema: price": 100, "nulls: price": None, "nulls: user_id": 100, "nulls: item_id": 100,
        "ranges: timestamp": 100, "ranges: quantity": 100, "ranges: price": 100, "duplicates: whole rows": 100,
        "future: timestamp": 100, "volume": 100, "references: item_id": 100,
    }  # fmt: skip
    assert report.scores == {"interactions": 100, "items": 100}
    assert (rows.rows, rows.schema_violations, rows.anomalies) == (ROWS, 0, ())
    assert named(items) == {
        "nulls: item_id": 100, "duplicates: item_id": 100, "nulls: name": None, "nulls: category": None,
    }  # fmt: skip
    assert items.age_seconds is None
    assert {part.what for part in rows.drift} == {"quantity", "price", "hour", "weekday", "items"}


@dataclass(frozen=True)
class Dirt:
    """One way to spoil the log: what it changes, and which measurements it lowers."""

    name: str
    change: pl.Expr
    lowers: tuple[str, ...]
    rows: int = ROWS
    violations: int = 0


DIRT = [
    Dirt("no user", first("who", None), ("nulls: user_id",), violations=BAD),
    Dirt("no item", first("what", None), ("nulls: item_id",), violations=BAD),
    Dirt("no time", first("when", None), ("nulls: timestamp",), violations=BAD),
    Dirt("a time of a clock never set", first("when", pl.lit(dt.datetime(1970, 1, 1, tzinfo=dt.UTC))), ("ranges: timestamp",)),
    Dirt("a negative amount", first("amount", -1), ("ranges: quantity",)),
    Dirt("an infinite price", first("paid", float("inf")), ("ranges: price",)),
    Dirt("a price that is no number", first("paid", float("nan")), ("ranges: price",)),
    Dirt("an unknown item", first("what", 9_999), ("references: item_id",)),
]  # fmt: skip


@pytest.mark.parametrize("dirt", DIRT, ids=lambda dirt: dirt.name)
def test_each_dirt_lowers_its_own_measurement_and_the_score(grocery: Source, paths: ReleasePaths, dirt: Dirt) -> None:
    """By the share of bad rows; no other measurement is lowered, and the items stay clean."""
    grocery.rows = grocery.rows.with_columns(dirt.change)
    report = measured(grocery, paths)
    table = report.tables["interactions"]
    lowered = {name: value for name, value in named(table).items() if value is not None and value < 100}
    assert lowered == {name: pytest.approx(score(BAD, dirt.rows)) for name in dirt.lowers}
    assert table.score == pytest.approx(score(BAD, dirt.rows))
    assert table.schema_violations == dirt.violations
    assert report.tables["items"].score == 100
    bad = {part.name: (part.bad, part.of) for part in table.measurements if part.name in dirt.lowers}
    assert bad == dict.fromkeys(dirt.lowers, (BAD, dirt.rows))


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [("when", "never", "schema: timestamp"), ("amount", "two", "schema: quantity"), ("paid", "1,50", "schema: price")],
)
def test_a_value_of_another_type_is_a_schema_violation(
    grocery: Source, paths: ReleasePaths, column: str, value: str, name: str
) -> None:
    """It stands in the source and can't be read; what is missing is told apart from it."""
    text = pl.col(column).dt.to_string("iso") if column == "when" else pl.col(column).cast(pl.String)
    grocery.rows = grocery.rows.with_columns(text).with_columns(first(column, pl.lit(value)))
    table = measured(grocery, paths).tables["interactions"]
    assert {key for key, found in named(table).items() if found is not None and found < 100} == {name}
    assert table.score == pytest.approx(score(BAD, ROWS))
    assert table.schema_violations == BAD


def test_an_amount_may_be_unknown(grocery: Source, paths: ReleasePaths) -> None:
    """It is counted, and costs nothing; so do items without a name."""
    grocery.rows = grocery.rows.with_columns(first("amount", None), first("paid", None))
    report = measured(grocery, paths)
    found = {part.name: part.bad for part in report.tables["interactions"].measurements if part.bad}
    assert found == {"nulls: quantity": BAD, "nulls: price": BAD}
    assert report.scores == {"interactions": 100, "items": 100}
    assert {part.name: part.bad for part in report.tables["items"].measurements if part.bad} == {"nulls: name": 1}


@pytest.mark.parametrize(("bounds", "bad"), [({"at_least": -5}, 0), ({"at_most": 3}, 1), ({}, 0)])
def test_what_is_plausible_is_configured(
    grocery: Source, paths: ReleasePaths, bounds: dict[str, float], bad: int
) -> None:
    """A log with returned goods may want negative amounts."""
    grocery.rows = grocery.rows.with_columns(pl.lit(2).alias("amount"))
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(-5)
        .when(pl.int_range(pl.len()) == 1)
        .then(5)
        .otherwise(2)
        .alias("amount")
    )
    table = measured(grocery, paths, data_quality={"quantity": bounds}).tables["interactions"]
    assert next(part.bad for part in table.measurements if part.name == "ranges: quantity") == bad


def test_whole_rows_that_stand_there_twice_are_duplicates(grocery: Source, paths: ReleasePaths) -> None:
    """The second copy is bad; the same user, item and time with another amount is a purchase of its own."""
    grocery.rows = pl.concat([grocery.rows, grocery.rows[:BAD]])
    table = measured(grocery, paths).tables["interactions"]
    assert named(table)["duplicates: whole rows"] == pytest.approx(score(BAD, ROWS + BAD))
    assert table.score == named(table)["duplicates: whole rows"]
    grocery.rows = pl.concat([grocery.rows[:1200], grocery.rows[:BAD].with_columns(pl.col("paid") + 100)])
    assert measured(grocery, paths).tables["interactions"].score == 100


def test_rows_from_the_future_cost_their_share_and_are_named(grocery: Source, paths: ReleasePaths) -> None:
    """They lie after everything that is visible, and count all the same."""
    late = grocery.rows[:BAD].with_columns(
        (pl.lit(utc_now()) + pl.duration(days=400)).alias("when").cast(grocery.rows.schema["when"])
    )
    grocery.rows = pl.concat([grocery.rows, late])
    table = measured(grocery, paths).tables["interactions"]
    assert named(table)["future: timestamp"] == table.score == pytest.approx(score(BAD, 1200 + BAD))
    assert table.rows == ROWS
    assert table.anomalies == ("30 rows are from the future",)


def test_one_bad_row_is_never_rounded_to_none(grocery: Source, paths: ReleasePaths) -> None:
    """The score of a table with any bad row is below 100."""
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(-1).otherwise("amount").alias("amount")
    )
    assert measured(grocery, paths).tables["interactions"].score < 100


@pytest.mark.parametrize(
    ("line", "name", "bad"),
    [
        ((None, "a", "b", "c"), "nulls: item_id", 1),
        ((101, "again", "b", "c"), "duplicates: item_id", 1),
    ],
)
def test_dirt_among_the_items_costs_the_items(
    grocery: Source, paths: ReleasePaths, line: tuple[Any, ...], name: str, bad: int
) -> None:
    """The interactions stay clean."""
    assert grocery.items is not None
    grocery.items = pl.concat([grocery.items, pl.DataFrame([line], schema=grocery.items.schema, orient="row")])
    report = measured(grocery, paths)
    assert named(report.tables["items"])[name] == report.tables["items"].score == pytest.approx(score(bad, 31))
    assert report.tables["interactions"].score == 100


def test_a_missing_item_costs_the_references(grocery: Source, paths: ReleasePaths) -> None:
    """Every purchase of it is a bad row."""
    assert grocery.items is not None
    grocery.items = grocery.items.filter(pl.col("what") != 105)
    visible = grocery.rows.filter(pl.col("when") < VISIBLE_UNTIL)
    lost = visible.filter(pl.col("what") == 105).height
    report = measured(grocery, paths)
    assert lost > 0
    assert named(report.tables["interactions"])["references: item_id"] == pytest.approx(score(lost, visible.height))


def test_without_items_there_is_nothing_to_refer_to(grocery: Source, paths: ReleasePaths) -> None:
    """One table, no references."""
    report = measured(grocery, paths, source__items=None)
    assert list(report.tables) == ["interactions"]
    assert "references: item_id" not in named(report.tables["interactions"])


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_an_empty_table_scores_0(grocery: Source, paths: ReleasePaths, table: str) -> None:
    """Nothing is never taken for nothing wrong."""
    if table == "interactions":
        grocery.rows = grocery.rows.clear()
    else:
        assert grocery.items is not None
        grocery.items = grocery.items.clear()
    report = measured(grocery, paths)
    assert (report.tables[table].score, report.tables[table].rows) == (0, 0)
    assert named(report.tables[table])["rows"] == 0


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_missing_column_scores_0_and_is_named(grocery: Source, paths: ReleasePaths, table: str) -> None:
    """With the columns that are there; the other table is measured."""
    report = measured(grocery, paths, **{f"source__{table}__columns__item_id": "sku"})
    other = "items" if table == "interactions" else "interactions"
    found = report.tables[table]
    assert (found.score, found.schema_violations) == (0, 1)
    assert found.measurements[0].name == "schema: sku"
    assert "'sku'" in found.measurements[0].detail
    assert "what" in found.measurements[0].detail
    assert report.tables[other].score == 100


def test_a_log_without_one_readable_time_scores_0(grocery: Source, paths: ReleasePaths) -> None:
    """There is no window to look at, and still an answer."""
    grocery.rows = grocery.rows.with_columns(pl.lit("never").alias("when"))
    table = measured(grocery, paths).tables["interactions"]
    assert (table.score, named(table)["schema: timestamp"]) == (0, 0)
    assert table.age_seconds is None


def test_ids_that_are_empty_text_are_no_ids(grocery: Source, paths: ReleasePaths) -> None:
    """As a CSV may have them in quotes."""
    grocery.rows = grocery.rows.with_columns(pl.col("who").cast(pl.String)).with_columns(first("who", pl.lit("")))
    assert named(measured(grocery, paths).tables["interactions"])["nulls: user_id"] == pytest.approx(score(BAD, ROWS))


def test_everything_dirty_at_once_scores_as_the_worst(grocery: Source, paths: ReleasePaths) -> None:
    """The score is the smallest of all measurements."""
    grocery.rows = grocery.rows.with_columns(
        [dirt.change for dirt in DIRT if dirt.name not in {"no item", "no time", "an infinite price"}]
    )
    table = measured(grocery, paths).tables["interactions"]
    assert table.score == min(value for value in named(table).values() if value is not None)
