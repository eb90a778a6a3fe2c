"""The data-quality stage: what it sees, what it writes, and what it says to whoever started it."""

from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import polars as pl
import pytest
import yaml

from model_release.adapters.exposition import parse_data_quality
from model_release.contract import utc_now
from model_release.errors import ConfigurationError, InvalidInputError
from model_release.paths import HOME_VARIABLE, ReleasePaths
from pipeline.data_quality.exposition import exposition
from pipeline.data_quality.report import Drift, QualityReport, TableQuality, share_score, table_quality
from pipeline.data_quality_v2 import check_data, describe, main
from tests.pipeline.logs import AS_OF, DAY, END, START, Source


@pytest.fixture(autouse=True)
def home(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line write into the empty installation."""
    monkeypatch.setenv(HOME_VARIABLE, str(paths.root))


def policy(folder: Path, minimum: float | None) -> str:
    """Write a release policy that demands ``minimum``, or no data quality at all."""
    floor = {"name": "floor", "kind": "absolute", "metric": "ndcg_at_10", "at_least": 0.0, "minimum_users": 2}
    quality = {"name": "dq", "kind": "data_quality", "minimum_score": minimum, "tables": ["interactions"]}
    checks = [floor] if minimum is None else [quality, floor]
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "name": "test", "checks": checks}))
    return str(path)


def spoil(source: Source, share: float) -> None:
    """Make a share of the amounts negative."""
    source.rows = source.rows.with_columns(
        pl.when(pl.int_range(pl.len()) < share * pl.len()).then(-1).otherwise("amount").alias("amount")
    )
    source.config()


def test_both_files_say_the_same(grocery: Source, paths: ReleasePaths) -> None:
    """The report for people, and the series that the gate reads."""
    spoil(grocery, 0.1)
    report = check_data(grocery.config(), paths)
    again = QualityReport.model_validate_json(paths.data_quality_report.read_bytes())
    assert again == report
    found = parse_data_quality(paths.data_quality_metrics.read_text())
    assert found.scores == pytest.approx(report.scores)
    assert found.scores["interactions"] < 91
    assert found.data_age_seconds == {"interactions": report.tables["interactions"].age_seconds}
    assert found.measured_at == pytest.approx(report.measured_at.timestamp())


def test_the_series_are_whole(grocery: Source, paths: ReleasePaths) -> None:
    """Zeros included, tables counted in the last line, a newline at the end."""
    check_data(grocery.config(), paths)
    text = paths.data_quality_metrics.read_text()
    assert text.endswith("\ndata_quality_tables 2.0\n")
    lines = text.splitlines()
    for table in ("interactions", "items"):
        assert f'data_quality_anomalies{{table="{table}"}} 0.0' in lines
        assert f'data_quality_schema_violations{{table="{table}"}} 0.0' in lines
        assert f'data_quality_score{{table="{table}"}} 100.0' in lines
    assert 'data_quality_rows{table="interactions"} 1185.0' in lines
    for what in ("quantity", "price", "hour", "weekday", "items"):
        assert any(line.startswith(f'data_quality_drift_psi{{table="interactions",what="{what}"}} ') for line in lines)


def test_an_empty_table_has_its_series_too(grocery: Source, paths: ReleasePaths) -> None:
    """Score and rows 0, no age; the gate accepts the file and will reject the score."""
    grocery.rows = grocery.rows.clear()
    check_data(grocery.config(), paths)
    found = parse_data_quality(paths.data_quality_metrics.read_text())
    assert found.scores == {"interactions": 0, "items": 100}
    assert found.data_age_seconds == {}
    assert 'data_quality_rows{table="interactions"} 0.0' in paths.data_quality_metrics.read_text().splitlines()


def test_names_that_need_quoting_survive_the_exposition() -> None:
    """Quotes, a backslash, Chinese; any drift, any number of tables."""
    names = ['a "b"', "c\\d", "物品"]
    table = TableQuality(
        rows=1, score=50.0, schema_violations=2, age_seconds=-3.5, measurements=(), anomalies=("x",),
        drift=(Drift(what="数", psi=0.0),),
    )  # fmt: skip
    report = QualityReport(
        source="s", measured_at=AS_OF, now=AS_OF, visible_until=AS_OF, tables=dict.fromkeys(names, table)
    )
    found = parse_data_quality(exposition(report))
    assert found.scores == dict.fromkeys(names, 50.0)
    assert found.data_age_seconds == dict.fromkeys(names, -3.5)


def test_age_by_the_log_is_measured_at_the_end_of_what_is_visible(grocery: Source, paths: ReleasePaths) -> None:
    """Historic data is as fresh as its last visible row, in whichever year it is looked at."""
    report = check_data(grocery.config(clock="log_time"), paths)
    newest = grocery.rows.filter(pl.col("when") < END - DAY)["when"].max()
    assert isinstance(newest, dt.datetime)
    assert report.now == report.visible_until == END - DAY
    assert report.tables["interactions"].age_seconds == (END - DAY - newest).total_seconds()


def test_age_by_the_wall_is_measured_now(grocery: Source, paths: ReleasePaths) -> None:
    """And everything up to now is visible."""
    before = utc_now()
    report = check_data(grocery.config(clock="wall_time"), paths)
    after = utc_now()
    newest = grocery.rows["when"].max()
    age = report.tables["interactions"].age_seconds
    assert isinstance(newest, dt.datetime)
    assert age is not None
    assert (before - newest).total_seconds() <= age <= (after - newest).total_seconds()
    assert report.tables["interactions"].rows == grocery.rows.height


def test_a_row_that_is_ahead_by_less_than_clocks_differ_is_new(grocery: Source, paths: ReleasePaths) -> None:
    """Its age is 0: the gate takes a negative age for a wrong clock."""
    soon = utc_now() + dt.timedelta(minutes=2)
    ahead = grocery.rows[-1].with_columns(pl.lit(soon).alias("when").cast(grocery.rows.schema["when"]))
    grocery.rows = pl.concat([grocery.rows, ahead])
    report = check_data(grocery.config(clock="wall_time"), paths)
    assert report.tables["interactions"].age_seconds == 0
    assert all(part.bad == 0 for part in report.tables["interactions"].measurements if part.kind == "future")


def test_a_row_that_is_really_ahead_keeps_its_negative_age(grocery: Source, paths: ReleasePaths) -> None:
    """It lies in the test window that is planned, and the clock says that it can't be there yet."""
    now = utc_now()
    shift = now - END
    grocery.rows = grocery.rows.with_columns(pl.col("when") + shift)
    ahead = grocery.rows[-1].with_columns((pl.lit(now) + 2 * DAY).alias("when").cast(grocery.rows.schema["when"]))
    grocery.rows = pl.concat([grocery.rows, ahead])
    report = check_data(grocery.config(clock="wall_time"), paths, now - DAY)
    age = report.tables["interactions"].age_seconds
    assert age is not None
    assert age < -DAY.total_seconds()
    assert report.tables["interactions"].anomalies[0] == "1 rows are from the future"


def test_rows_after_the_window_are_invisible(grocery: Source, paths: ReleasePaths) -> None:
    """Whatever dirt is there; the clean part before is measured as if it were all."""
    as_of = START + 60 * DAY
    clean = check_data(grocery.config(), paths, as_of)
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.col("when") >= as_of + 7 * DAY).then(-1).otherwise("amount").alias("amount"),
        pl.when(pl.col("when") >= as_of + 7 * DAY).then(9999).otherwise("what").alias("what"),
    )
    dirty = check_data(grocery.config(), paths, as_of)
    assert dirty.tables == clean.tables
    assert dirty.visible_until == as_of + 7 * DAY
    assert min(check_data(grocery.config(), paths).scores.values()) < 100


def test_the_last_moment_of_the_window_is_visible_and_its_end_is_not(grocery: Source, paths: ReleasePaths) -> None:
    """The same rows are judged on."""
    end = START + 67 * DAY
    edge = grocery.rows[:2].with_columns(
        pl.Series("when", [end - dt.timedelta(microseconds=1), end], dtype=grocery.rows.schema["when"])
    )
    visible = grocery.rows.filter(pl.col("when") < end).height
    grocery.rows = pl.concat([grocery.rows, edge])
    assert check_data(grocery.config(), paths, START + 60 * DAY).tables["interactions"].rows == visible + 1


@pytest.mark.parametrize("as_of", [START - DAY, END + 100 * DAY])
def test_a_cutoff_that_can_not_be_is_refused(grocery: Source, paths: ReleasePaths, as_of: dt.datetime) -> None:
    """Nothing is written: an older report stays what it was."""
    with pytest.raises(InvalidInputError):
        check_data(grocery.config(), paths, as_of)
    assert not paths.data_quality_metrics.exists()


def test_files_are_replaced_whole_and_readable_by_others(grocery: Source, paths: ReleasePaths) -> None:
    """A new file takes the name of the old one; nothing is left beside them; Prometheus may read them."""
    check_data(grocery.config(), paths)
    files = [paths.data_quality_report, paths.data_quality_metrics]
    before = [path.stat().st_ino for path in files]
    with paths.data_quality_metrics.open() as held:
        old = paths.data_quality_metrics.read_text()
        spoil(grocery, 0.5)
        check_data(grocery.config(), paths)
        assert held.read() == old  # whoever reads the old file reads it to its end
    assert all(path.stat().st_ino != number for path, number in zip(files, before, strict=True))
    assert {path.name for path in paths.evaluation.iterdir()} == {path.name for path in files}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in files)


def test_a_source_that_is_gone_is_an_error_and_leaves_the_files_alone(grocery: Source, paths: ReleasePaths) -> None:
    """The old measurement grows old; it is not replaced by a guess."""
    config = grocery.config()
    check_data(config, paths)
    before = paths.data_quality_metrics.read_bytes()
    (grocery.folder / "items.parquet").unlink()
    with pytest.raises(ConfigurationError, match=r"items\.parquet"):
        check_data(config, paths)
    assert paths.data_quality_metrics.read_bytes() == before


@pytest.mark.parametrize(
    ("share", "minimum", "flags", "expected"),
    [
        (0.0, 90, [], 0),
        (0.0, 100, [], 0),
        (0.2, 90, [], 3),
        (0.2, 90, ["--report-only"], 0),
        (0.2, 70, [], 0),
        (0.2, None, [], 0),
    ],
)
def test_the_policy_says_what_is_good_enough(
    grocery: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float, minimum: float | None,
    flags: list[str], expected: int,
) -> None:  # fmt: skip
    """0 good enough, 3 below; --report-only and a policy without such a check let everything through."""
    spoil(grocery, share)
    assert main(["--config", str(grocery.path), "--policy", policy(tmp_path, minimum), *flags]) == expected
    said = capsys.readouterr().out
    assert ("is below 90" in said) == (share > 0 and minimum == 90)
    assert ("ranges: quantity" in said) == (share > 0)
    why = "minimum_score of the release policy's check 'dq'; pulled down by 'ranges: quantity' (240 of 1,185); "
    assert (why + "if the data is right, look at data_quality.quantity\n" in said) == (share > 0 and minimum == 90)


def test_a_time_column_that_can_not_be_read_is_named(
    grocery: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3: it was measured, and nothing is good; the column and its key stand in the last line."""
    grocery.rows = grocery.rows.with_columns(pl.lit("31.12.2025").alias("when"))
    grocery.config()
    assert main(["--config", str(grocery.path), "--policy", policy(tmp_path, 90)]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert "'schema: timestamp' (1,200 of 1,200 in column 'when' can't be read)" in last
    assert last.endswith("source.interactions.columns.timestamp")


def test_the_cutoff_of_the_command_line_is_obeyed(grocery: Source, paths: ReleasePaths, tmp_path: Path) -> None:
    """In the zone of the log."""
    grocery.config(source__timezone="Asia/Shanghai")
    assert main(["--config", str(grocery.path), "--policy", policy(tmp_path, 50), "--as-of", "2025-03-01"]) == 0
    report = json.loads(paths.data_quality_report.read_text())
    assert report["visible_until"] == "2025-03-08T00:00:00+08:00"


@pytest.mark.parametrize("spoilt", ["rows.parquet", "items.parquet"])
def test_what_can_not_be_measured_is_exit_1(grocery: Source, capsys: pytest.CaptureFixture[str], spoilt: str) -> None:
    """With one line that names it, also under --report-only."""
    (grocery.folder / spoilt).write_bytes(b"no parquet")
    assert main(["--config", str(grocery.path), "--report-only"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert spoilt in said


@pytest.mark.parametrize(
    "arguments",
    [["--as-of", "soon"], ["--policy", "none.yaml"], ["--config", "none.yaml"], ["--unknown"]],
)
def test_wrong_usage_is_exit_2(grocery: Source, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was given stands in the message."""
    with pytest.raises(SystemExit) as caught:
        main(["--config", str(grocery.path), *arguments])
    assert caught.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


def test_a_missing_column_is_below_every_minimum(
    grocery: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, and the report that says why is there."""
    grocery.config(source__interactions__columns__user_id="customer")
    assert main(["--config", str(grocery.path), "--policy", policy(tmp_path, 1)]) == 3
    assert "no column 'customer'" in capsys.readouterr().out


def test_the_terminal_names_only_what_is_worth_a_look(grocery: Source, paths: ReleasePaths) -> None:
    """A clean table is one line; a spoilt one tells its bad measurements; what is odd is said."""
    spoil(grocery, 0.1)
    text = describe(check_data(grocery.config(), paths))
    assert text.count("ranges: quantity") == 1
    assert "duplicates" not in text
    assert "1,185 rows" in text
    assert "120 of 1,185" in text


def test_the_score_of_a_share() -> None:
    """Nothing at all is not good; one of a trillion is not none."""
    assert [share_score(0, 10), share_score(1, 4), share_score(4, 4)] == [100, 75, 0]
    assert share_score(0, 0) == share_score(0, -1) == 0
    assert share_score(1, 10**18) < 100
    assert table_quality(10, ()).score == 0
