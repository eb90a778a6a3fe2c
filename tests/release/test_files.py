"""Files that are the old one or the new one."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from model_release.adapters.files import fsync_directory, sha256_of, write_atomic


def test_it_writes_text_and_bytes_and_makes_the_folder(tmp_path: Path) -> None:
    """Text is UTF-8; missing folders are made."""
    write_atomic(tmp_path / "a" / "b.txt", "发布")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "发布".encode()
    write_atomic(tmp_path / "a" / "b.txt", b"\0\1")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\0\1"


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    """A metrics collector of another user can read the file."""
    write_atomic(tmp_path / "a", "x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails before the rename, the old content stands and the temporary file is gone."""
    write_atomic(tmp_path / "a", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_reader_that_opened_the_old_file_keeps_it(tmp_path: Path) -> None:
    """The file is replaced, not rewritten: an open reader sees all of the old one."""
    write_atomic(tmp_path / "a", "old" * 1000)
    with (tmp_path / "a").open() as reader:
        write_atomic(tmp_path / "a", "new")
        assert reader.read() == "old" * 1000


def test_the_directory_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then folder: a power cut after the call can't bring the old file back."""
    synced: list[str] = []
    real = os.fsync

    def note(handle: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_atomic(tmp_path / "a", "x")
    assert synced == ["file", "folder"]
    fsync_directory(tmp_path)
    assert synced[-1] == "folder"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    """Reading in pieces gives the hash of the whole, at and around the size of a piece."""
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
