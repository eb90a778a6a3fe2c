"""The ledger as a file: what only a file can get wrong."""

from __future__ import annotations

import datetime as dt
import os
import stat

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release.adapters.file_ledger import FileLedger
from model_release.errors import StateBusyError, StateCorruptError
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def entry(number: int) -> LedgerEntry:
    """Return an entry of release ``release-<number>``."""
    return LedgerEntry(
        at=NOW, event=Event.NOTIFIED, release_id=f"release-{number}", by="test", reason='换行\n"quoted" \u2028'
    )


@pytest.fixture
def ledger(paths: ReleasePaths) -> FileLedger:
    """Give a ledger with three entries."""
    found = FileLedger(paths)
    for number in range(3):
        found.append(entry(number))
    return found


def test_one_entry_is_one_line(ledger: FileLedger) -> None:
    """Line breaks inside a reason do not break the line: grep and tail work."""
    assert ledger.path.read_bytes().count(b"\n") == 3
    assert len(ledger.read()) == 3


def test_the_file_is_only_ever_appended_to(ledger: FileLedger) -> None:
    """What was there stays, to the byte."""
    before = ledger.path.read_bytes()
    ledger.append(entry(3))
    assert ledger.path.read_bytes().startswith(before)


@given(cut=st.integers(1, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_writer_that_died_anywhere_in_its_line_leaves_no_trace(ledger: FileLedger, cut: int) -> None:
    """A last line without its newline was never acknowledged: it does not count, and the next entry follows cleanly."""
    whole = ledger.path.read_bytes()
    last = len(whole) - whole.rstrip(b"\n").rfind(b"\n") - 1
    try:
        ledger.path.write_bytes(whole[: len(whole) - 1 - (cut % (last - 1))])
        assert [found.release_id for found in ledger.read()] == ["release-0", "release-1"]
        assert ledger.append(entry(7))
        assert [found.release_id for found in ledger.read()] == ["release-0", "release-1", "release-7"]
    finally:
        ledger.path.write_bytes(whole)


@pytest.mark.parametrize("line", [b"", b"{}", b"{", b"null", b"\xff", b'{"at": "now"}'])
def test_a_damaged_line_is_an_error_that_names_it(ledger: FileLedger, line: bytes) -> None:
    """A complete line that is no entry is never skipped, and nothing is written behind it."""
    lines = ledger.path.read_bytes().split(b"\n")
    lines[1] = line
    ledger.path.write_bytes(b"\n".join(lines))
    before = ledger.path.read_bytes()
    with pytest.raises(StateCorruptError, match="line 2"):
        ledger.read()
    with pytest.raises(StateCorruptError, match="line 2"):
        ledger.append(entry(9))
    assert ledger.path.read_bytes() == before


def test_an_entry_is_synced_and_so_is_the_folder_of_a_new_file(
    paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``append`` returned, a power cut loses neither the line nor the file."""
    synced: list[str] = []
    real = os.fsync

    def note(handle: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    ledger = FileLedger(paths)
    ledger.append(entry(0))
    assert sorted(synced) == ["file", "folder"]
    ledger.append(entry(1))
    assert sorted(synced) == ["file", "file", "folder"]


def test_a_lock_that_is_held_too_long_is_reported(paths: ReleasePaths, ledger: FileLedger) -> None:
    """Waiting ends with an error; reading needs no lock."""
    hasty = FileLedger(paths, lock_timeout_seconds=0.05)
    with FileLock(f"{ledger.path}.lock"):
        with pytest.raises(StateBusyError, match="retry"):
            hasty.append(entry(9))
        assert len(hasty.read()) == 3
