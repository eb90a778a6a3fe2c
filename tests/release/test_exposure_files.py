"""Reading a day of the exposure log: all files, all complete lines, and a word about what can't be read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from model_release.adapters.exposure_files import Unreadable, day_files, read_day
from model_release.exposures import Exposure, complete
from model_release.paths import ReleasePaths
from tests.release.test_exposures import EVENT, EXPOSURE, line

DAY = dt.date(2026, 1, 12)
FIRST, SECOND = "api-1.0.20260112T000003Z.0.jsonl", "api-2.1.20260112T080000Z.4.jsonl"


def write(paths: ReleasePaths, name: str, content: bytes) -> Path:
    paths.exposures.mkdir(parents=True, exist_ok=True)
    path = paths.exposures / name
    path.write_bytes(content)
    return path


def test_a_day_is_read_over_all_files_and_without_torn_ends(tmp_path: Path) -> None:
    """Files of other days, and files that are not the log's, are left alone; a torn end is no problem to report."""
    paths = ReleasePaths(tmp_path)
    write(paths, FIRST, line(EXPOSURE, request_id="a") + b"\n" + line(EVENT) + b"\n" + line(EXPOSURE)[:50])
    write(paths, SECOND, line(EXPOSURE, request_id="b") + b"\n")
    write(paths, "api-1.0.20260111T000000Z.0.jsonl", line(EXPOSURE, request_id="of another day") + b"\n")
    write(paths, "notes.jsonl", b"not ours\n")
    problems: list[Unreadable] = []
    found = list(read_day(paths, DAY, problems.append))
    assert [record.request_id for record in found] == ["a", "r-1", "b"]
    assert [record.kind for record in found] == ["exposure", "event", "exposure"]
    assert problems == []


def test_a_last_line_that_is_whole_json_but_has_no_end_does_not_count(tmp_path: Path) -> None:
    """It may be the beginning of a longer one."""
    paths = ReleasePaths(tmp_path)
    write(paths, FIRST, line(EXPOSURE))
    assert list(read_day(paths, DAY, lambda _: None)) == []


def test_what_cannot_be_read_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    """File and line are named; the values, which are about people, are not."""
    paths = ReleasePaths(tmp_path)
    damaged = write(paths, FIRST, b"\0\0\0\n" + line(EXPOSURE, k=0, id="secret-user") + b"\n" + line(EXPOSURE) + b"\n")
    folder = paths.exposures / SECOND
    folder.mkdir()
    problems: list[Unreadable] = []
    found = list(read_day(paths, DAY, problems.append))
    assert [type(record) for record in found] == [Exposure]
    assert [(problem.path, problem.line) for problem in problems] == [(damaged, 1), (damaged, 2), (folder, None)]
    assert "exposure.k" in problems[1].problem
    assert "secret-user" not in "".join(problem.problem for problem in problems)


def test_without_files_there_is_nothing(tmp_path: Path) -> None:
    """An empty list of files, not an error: whoever reads decides what missing data means."""
    assert day_files(ReleasePaths(tmp_path), DAY) == []


def test_polars_reads_the_same_lines(tmp_path: Path) -> None:
    """The way that docs/reference/exposure-log.md shows: complete lines only, both kinds in one frame."""
    paths = ReleasePaths(tmp_path)
    path = write(paths, FIRST, line(EVENT) + b"\n" + line(EXPOSURE) + b"\n" + line(EXPOSURE)[:-1])
    frame = pl.read_ndjson(complete(path.read_bytes()), infer_schema_length=None)
    shown = frame.filter(kind="exposure").with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))
    assert shown.select("id", "items").rows() == [("用户三", ["i1", "苹果"])]
    assert shown["at"].to_list() == [dt.datetime(2026, 1, 12, 9, 30, tzinfo=dt.UTC)]
    assert frame.filter(kind="event")["type"].to_list() == ["purchase"]
