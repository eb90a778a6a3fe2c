"""Reading a log: whatever its format and names, one shape; what is wrong is named with the way out."""

from __future__ import annotations

import datetime as dt
import gzip
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from model_release.contract import utc_now
from model_release.errors import ConfigurationError, InvalidInputError
from pipeline import ingest
from pipeline.config import PipelineConfig, load_config
from pipeline.timestamps import TIMESTAMP
from tests.pipeline.logs import AS_OF, DAY, END, START, Source, changed

CSV = {"source": {"name": "mine", "interactions": {"path": "log.csv"}}, "repeat_purchases": True}
HEADER = "user_id,item_id,timestamp\n"


def configured(folder: Path, content: str | bytes | None = None, **changes: Any) -> PipelineConfig:
    """Write a CSV log and a configuration for it."""
    if content is not None:
        (folder / "log.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(changed(CSV, **changes), allow_unicode=True), encoding="utf-8")
    return load_config(path)


def test_a_parquet_log_becomes_the_one_shape(grocery: Source) -> None:
    """Names and types are those that are promised, rows are those of the source in its order."""
    rows = ingest.load_interactions(grocery.config())
    assert dict(rows.schema) == {
        "user_id": pl.String, "item_id": pl.String, "timestamp": TIMESTAMP,
        "quantity": pl.Float64, "price": pl.Float64,
    }  # fmt: skip
    assert rows["user_id"].to_list() == [str(who) for who in grocery.rows["who"]]
    assert rows["timestamp"].to_list() == grocery.rows["when"].to_list()
    assert rows["price"].to_list() == grocery.rows["paid"].to_list()


def test_a_csv_log_gives_the_same_rows_as_a_parquet_log(grocery: Source, tmp_path: Path) -> None:
    """And the same hash: the format of a file is nothing a model learns from."""
    columns = {name: name for name in ("user_id", "item_id", "timestamp", "quantity", "price")}
    rows = ingest.load_interactions(grocery.config())
    rows.rename(columns).write_csv(tmp_path / "log.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    config = configured(tmp_path, source__interactions__columns=columns)
    again = ingest.load_interactions(config)
    assert again.equals(rows)
    assert ingest.snapshot(config, again).content_sha256 == ingest.snapshot(grocery.config(), rows).content_sha256


def test_text_is_read_as_text(tmp_path: Path) -> None:
    """Ids keep their zeros and their characters; a comma in quotes is no separator; a byte-order mark is no name."""
    text = '﻿user_id,item_id,timestamp\n007,"苹果, 红",2025-01-01\nO’Neil,1e3,2025-01-02\n'
    rows = ingest.load_interactions(configured(tmp_path, text))
    assert rows.select("user_id", "item_id").rows() == [("007", "苹果, 红"), ("O’Neil", "1e3")]


@pytest.mark.parametrize("name", ["log.tsv", "log.CSV", "log.csv.gz"])
def test_other_ways_to_write_text_are_read(tmp_path: Path, name: str) -> None:
    """Tabs, another case of the ending, compressed."""
    text = (HEADER + "u,i,2025-01-01\n").replace(",", "\t" if name.endswith("tsv") else ",").encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    rows = ingest.load_interactions(configured(tmp_path, source__interactions__path=name))
    assert rows.rows() == [("u", "i", dt.datetime(2025, 1, 1, tzinfo=dt.UTC))]


def test_a_pattern_means_all_files_that_match(grocery: Source) -> None:
    """A log may be cut into parts."""
    grocery.config()
    (grocery.folder / "parts").mkdir()
    for number in range(3):
        grocery.rows[number * 400 : (number + 1) * 400].write_parquet(grocery.folder / f"parts/{number}.parquet")
    config = grocery.config(source__interactions__path="parts/*.parquet")
    assert ingest.load_interactions(config).height == grocery.rows.height
    anything = grocery.config(source__interactions__path="parts/*")
    assert ingest.load_interactions(anything).height == grocery.rows.height
    with pytest.raises(ConfigurationError, match=r"parts/\*\.csv: no file matches"):
        ingest.scan_interactions(grocery.config(source__interactions__path="parts/*.csv"))


def test_numbers_as_pandas_writes_them_are_whole_ids(grocery: Source) -> None:
    """17.0 is 17, and fits the 17 of the items; NaN and null are no id."""
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise(pl.col("what")).cast(pl.Float64).alias("what"),
        pl.when(pl.int_range(pl.len()) == 2)
        .then(float("nan"))
        .when(pl.int_range(pl.len()) == 3)
        .then(17.5)
        .otherwise(pl.col("who").cast(pl.Float64))
        .alias("who"),
    )
    rows = ingest.scan_interactions(grocery.config()).collect()
    assert rows["item_id"][0] == str(int(grocery.rows["what"][0]))
    assert rows["item_id"][1] is None
    assert rows["user_id"][2] is None
    assert rows["user_id"][3] is None  # 17.5 is nobody; cut to 17 it would be somebody else
    usable = ingest.load_interactions(grocery.config())
    assert usable.height == rows.height - 3
    assert set(usable["item_id"]) <= set(ingest.load_items(grocery.config())["item_id"])


def test_rows_without_user_item_or_time_are_left_out(tmp_path: Path) -> None:
    """They are counted by the data-quality stage; a model can't use them."""
    text = HEADER + "u,i,2025-01-01\n,i,2025-01-01\nu,,2025-01-01\nu,i,\nu,i,never\n"
    config = configured(tmp_path, text)
    assert ingest.scan_interactions(config).collect().height == 5
    assert ingest.load_interactions(config).height == 1


def test_what_is_missing_and_what_is_unreadable_are_told_apart(tmp_path: Path) -> None:
    """``given_`` says whether the source says anything."""
    text = "user_id,item_id,timestamp,n\nu,i,never,x\nu,i,,\nu,i, ,2\n"
    config = configured(tmp_path, text, source__interactions__columns={"quantity": "n"})
    rows = ingest.scan_interactions(config, given=True).collect()
    assert rows["given_timestamp"].to_list() == [True, False, False]
    assert rows["timestamp"].to_list() == [None, None, None]
    assert rows["given_quantity"].to_list() == [True, False, True]
    assert rows["quantity"].to_list() == [None, None, 2.0]


def test_bounds_are_inclusive_and_exclusive(grocery: Source) -> None:
    """Since <= timestamp < before."""
    config = grocery.config()
    moments = grocery.rows["when"].to_list()
    rows = ingest.load_interactions(config, since=moments[10], before=moments[20])
    assert rows["timestamp"].to_list() == moments[10:20]


def test_no_usable_row_is_an_error_that_names_the_log(grocery: Source, tmp_path: Path) -> None:
    """Nothing is never taken for a small log."""
    with pytest.raises(InvalidInputError, match=r"rows\.parquet"):
        ingest.load_interactions(grocery.config(), before=START)
    with pytest.raises(InvalidInputError, match=r"log\.csv has no usable interaction"):
        ingest.log_span(configured(tmp_path, HEADER))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("u,i,31.12.2025", "timestamp) has no value that can be read; the first is '31.12.2025'"),
        ("u,i,", "timestamp) has no value"),
        (",i,2025-12-31", "user_id) has no value"),
        ('"",i,2025-12-31', "user_id) has no value"),
    ],
)
def test_a_column_without_a_usable_value_is_named(tmp_path: Path, row: str, said: str) -> None:
    """With the key that chooses it, and one of its values."""
    config = configured(tmp_path, HEADER + f"{row}\n" * 3)
    for read in (ingest.log_span, ingest.load_interactions):
        with pytest.raises(InvalidInputError) as caught:
            read(config)
        assert str(caught.value).endswith(said)
        column = said.split(")", maxsplit=1)[0]
        assert f": column '{column}' (source.interactions.columns.{said}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.csv", ["none.csv", "there is no file"]),
        ("log.xlsx", ["log.xlsx", "neither Parquet (.parquet) nor CSV"]),
        ("package://no_such_package/log.csv", ["no_such_package", "not installed"]),
        ("package:///log.csv", ["package:///log.csv", "not installed"]),
        ("package://polars/none.csv", ["package://polars/none.csv", "there is no file"]),
        ("broken.parquet", ["broken.parquet", "can't be read"]),
        ("empty.csv", ["empty.csv", "can't be read"]),
    ],
)
def test_a_source_that_can_not_be_opened_is_named(tmp_path: Path, path: str, words: list[str]) -> None:
    """With what was expected."""
    for name in ("log.xlsx", "broken.parquet", "empty.csv"):
        (tmp_path / name).write_bytes(b"" if name == "empty.csv" else b"something")
    config = configured(tmp_path, source__interactions__path=path)
    with pytest.raises(ConfigurationError) as caught:
        ingest.scan_interactions(config)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "content", [(HEADER + "u,苹果,2025-01-01\n").encode("gbk"), (HEADER + "u,i,2025-01-01,more\n").encode()]
)
def test_a_log_that_is_damaged_further_in_is_named(tmp_path: Path, content: bytes) -> None:
    """Another encoding or a row with too many fields shows only when it is read."""
    config = configured(tmp_path, content)
    for read in (ingest.load_interactions, ingest.log_span):
        with pytest.raises(ConfigurationError, match=r"log\.csv can't be read.*UTF-8"):
            read(config)


def test_a_file_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``package://NAME/...``, as the demo's data comes."""
    package = tmp_path / "shop_data"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "log.csv").write_text(HEADER + "u,i,2025-01-01\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = configured(tmp_path, source__interactions__path="package://shop_data/data/log.csv")
    assert ingest.load_interactions(config).height == 1
    sys.modules.pop("shop_data", None)


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_missing_column_is_named_with_those_that_are_there(grocery: Source, table: str) -> None:
    """And with the key to correct."""
    config = grocery.config(**{f"source__{table}__columns__item_id": "sku"})
    assert ingest.missing_columns(config, table) == ["sku"]
    with pytest.raises(ConfigurationError) as caught:
        ingest.load_interactions(config) if table == "interactions" else ingest.load_items(config)
    for word in (f"source.{table}", "'sku'", "what", "columns"):
        assert word in str(caught.value)


def test_all_missing_columns_are_listed(grocery: Source) -> None:
    """Items that are not configured lack nothing."""
    config = grocery.config(source__interactions__columns__user_id="a", source__interactions__columns__price="b")
    assert ingest.missing_columns(config, "interactions") == ["a", "b"]
    assert ingest.missing_columns(grocery.config(source__items=None), "items") == []


def test_items_have_one_row_a_name_and_a_category(grocery: Source) -> None:
    """A name is put together; without any part there is none; of a repeated item the first counts."""
    assert grocery.items is not None
    more = pl.DataFrame({"what": [101, None], "kind": ["later", "nobody's"], "brand": ["x", "y"], "aisle": ["z", "z"]})
    grocery.items = pl.concat([grocery.items, more])
    items = ingest.load_items(grocery.config())
    assert items.columns == ["item_id", "name", "category"]
    assert items.height == 30
    assert items.rows()[1] == ("101", "kind 1 house", "aisle 1")
    assert items.rows()[3] == ("103", None, "aisle 3")


def test_items_need_neither_names_nor_be_there(grocery: Source) -> None:
    """The shape stays the same."""
    bare = ingest.load_items(grocery.config(source__items__columns={"item_id": "what"}))
    assert bare.rows()[0] == ("100", None, None)
    assert ingest.load_items(grocery.config(source__items=None)).schema == bare.schema
    assert ingest.scan_items(grocery.config(source__items=None)) is None


def test_rows_from_the_future_do_not_move_the_newest_window(grocery: Source) -> None:
    """A wrong clock would otherwise leave every later run without data to judge on."""
    before = ingest.resolve_window(grocery.config())
    assert before.start == AS_OF - DAY  # the newest row is of the evening before END
    wrong = grocery.rows[-1].with_columns(pl.lit(utc_now() + dt.timedelta(days=400)).alias("when"))
    grocery.rows = pl.concat([grocery.rows, wrong.cast(grocery.rows.schema)])
    assert ingest.resolve_window(grocery.config()) == before
    assert ingest.log_span(grocery.config())[1] < END


def test_a_row_that_is_ahead_by_less_than_clocks_differ_is_no_future(tmp_path: Path) -> None:
    """A minute is nothing; an hour is."""
    now = utc_now().replace(microsecond=0)
    soon, late = now + dt.timedelta(minutes=1), now + dt.timedelta(hours=1)
    text = HEADER + "".join(f"u,i,{moment.isoformat()}\n" for moment in (now - DAY, soon, late))
    assert ingest.log_span(configured(tmp_path, text)) == (now - DAY, soon)


def test_the_snapshot_describes_the_rows(grocery: Source) -> None:
    """Counts, ends and name; the same rows give the same hash."""
    config = grocery.config()
    rows = ingest.load_interactions(config, before=AS_OF)
    found = ingest.snapshot(config, rows)
    before = grocery.rows.filter(pl.col("when") < AS_OF)
    assert (found.source, found.rows) == ("groceries", before.height)
    assert (found.users, found.items) == (before["who"].n_unique(), before["what"].n_unique())
    assert (found.first_timestamp, found.last_timestamp) == (before["when"].min(), before["when"].max())
    assert ingest.snapshot(config, ingest.load_interactions(config, before=AS_OF)) == found


@pytest.mark.parametrize(
    ("column", "value"),
    [("who", 7_000), ("what", 7_000), ("when", START - DAY), ("amount", 77), ("paid", 7.77)],
)
def test_the_hash_of_a_snapshot_sees_every_value(grocery: Source, column: str, value: Any) -> None:
    """One changed value in one row gives another; so does a lost row."""
    config = grocery.config()
    rows = ingest.load_interactions(config)
    before = ingest.snapshot(config, rows).content_sha256
    kind = grocery.rows.schema[column]
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 5).then(pl.lit(value).cast(kind)).otherwise(pl.col(column)).alias(column)
    )
    assert ingest.snapshot(config, ingest.load_interactions(grocery.config())).content_sha256 != before
    assert ingest.snapshot(config, rows[1:]).content_sha256 != before
