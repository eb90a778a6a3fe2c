"""One file: whole lines or nothing, also when the disk is full in the middle of one; and what is kept of all files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from recommendation_api.exposure_file import ExposureFile, being_written
from recommendation_api.exposure_retention import prune
from tests.api.exposures import NOON, at_most

LINES = [b'{"line":%d}\n' % number for number in range(10)]  # 11 bytes each
NOW = dt.datetime(2026, 1, 12, 12, tzinfo=dt.UTC)
FOREVER = 3650


def create(folder: Path, replica: str = "api-1") -> ExposureFile:
    return ExposureFile.create(folder, replica=replica, worker=0, start=NOON, number=0)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """What fits stays, what is torn is cut off, and the caller learns how far it went."""
    file = create(tmp_path)
    with at_most(36):
        assert file.write(LINES) == 3
        assert file.path.read_bytes() == b"".join(LINES[:3])
        with pytest.raises(OSError, match="No space left"):
            file.write(LINES[3:])
    assert file.path.read_bytes() == b"".join(LINES[:3])
    assert file.write(LINES[3:]) == 7
    file.close()
    assert file.path.read_bytes() == b"".join(LINES)


def test_an_empty_file_is_not_left_behind(tmp_path: Path) -> None:
    """A disk that is full for an hour would leave thousands."""
    file = create(tmp_path)
    with at_most(0), pytest.raises(OSError, match="File too large"):
        file.write(LINES)
    file.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_being_written_until_it_is_closed(tmp_path: Path) -> None:
    file = create(tmp_path)
    file.write(LINES)
    assert being_written(file.path) is True
    file.close()
    assert being_written(file.path) is False
    assert being_written(tmp_path / "gone") is False


def put(folder: Path, day: int, *, replica: str = "api-1", size: int = 1000) -> str:
    name = f"{replica}.0.202601{day:02}T000000Z.0.jsonl"
    (folder / name).write_bytes(b"x" * size)
    return name


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_kept_for_their_days(tmp_path: Path) -> None:
    """Two days after the day they are about: the tenth is the first of them."""
    names = [put(tmp_path, day) for day in (8, 9, 10, 11, 12)]
    removed = prune(tmp_path, now=NOW, keep_bytes=1e9, keep_days=2)
    assert [path.name for path in removed] == names[:2]
    assert kept(tmp_path) == names[2:]


def test_the_oldest_files_go_first_whoever_wrote_them(tmp_path: Path) -> None:
    """All together count, also those of replicas that are gone; exactly the limit may stay."""
    old = [put(tmp_path, 3, replica="gone"), put(tmp_path, 4, replica="api-2")]
    new = [put(tmp_path, 5, replica="api-1"), put(tmp_path, 6, replica="api-0")]
    removed = prune(tmp_path, now=NOW, keep_bytes=2000, keep_days=FOREVER)
    assert [path.name for path in removed] == old
    assert kept(tmp_path) == sorted(new)
    assert prune(tmp_path, now=NOW, keep_bytes=2000, keep_days=FOREVER) == []


def test_a_file_that_is_being_written_stays_however_old_it_is(tmp_path: Path) -> None:
    """Of another process too: the lock is asked, not the name."""
    file = ExposureFile.create(tmp_path, replica="api-9", worker=0, start=1e9, number=0)
    file.write(LINES)
    other = put(tmp_path, 11)
    assert [path.name for path in prune(tmp_path, now=NOW, keep_bytes=0, keep_days=1)] == [other]
    assert kept(tmp_path) == [file.path.name]
    file.close()
    assert prune(tmp_path, now=NOW, keep_bytes=0, keep_days=1) == [file.path]


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_bytes(b"x" * 5000)
    (tmp_path / "20260101.parquet").write_bytes(b"x" * 5000)
    put(tmp_path, 1)
    assert len(prune(tmp_path, now=NOW, keep_bytes=0, keep_days=1)) == 1
    assert kept(tmp_path) == ["20260101.parquet", "notes.jsonl"]


def test_a_file_that_cannot_be_removed_holds_no_other_one_back(tmp_path: Path) -> None:
    (tmp_path / "api-1.0.20260101T000000Z.0.jsonl").mkdir()
    put(tmp_path, 2)
    with pytest.raises(IsADirectoryError):
        prune(tmp_path, now=NOW, keep_bytes=0, keep_days=1)
    assert kept(tmp_path) == ["api-1.0.20260101T000000Z.0.jsonl"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert prune(tmp_path / "exposures", now=NOW, keep_bytes=0, keep_days=1) == []
