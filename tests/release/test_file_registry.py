"""The registry as a file: what only a file can get wrong."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release import limits
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import StateBusyError, StateCorruptError
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Registry, clear_latch, promote, register, set_latch

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def first_release(registry: Registry) -> Registry:
    """Register and release a run."""
    known = register(registry, run_id="run-a", manifest_sha256="a" * 64, release_id="r", at=NOW)
    return promote(known, run_id="run-a", release_id="r", at=NOW)


@pytest.fixture
def store(paths: ReleasePaths) -> FileRegistry:
    """Give a registry with a current run."""
    registry = FileRegistry(paths)
    registry.update(first_release)
    return registry


def test_another_process_reads_what_was_written(paths: ReleasePaths, store: FileRegistry) -> None:
    """The file is the state: a new object sees it."""
    assert FileRegistry(paths).read() == store.read()
    assert store.path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}x",
        b"{}",
        b'{"schema_version": 1, "generation": 0}',
        b'{"generation": "1"}',
        b"\xff\xfe",
        b'{"a": 1}',
    ],
)
def test_a_damaged_registry_is_an_error_and_stays_as_it_is(store: FileRegistry, content: bytes) -> None:
    """It never reads as empty, and no update replaces it: a person has to look."""
    store.path.write_bytes(content)
    with pytest.raises(StateCorruptError, match="backup"):
        store.read()
    with pytest.raises(StateCorruptError):
        store.update(clear_latch)
    assert store.path.read_bytes() == content


@given(cut=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_half_of_a_registry_is_a_registry(store: FileRegistry, cut: int) -> None:
    """Cut anywhere before its last brace, the file is recognised as damaged."""
    whole = store.path.read_bytes()
    try:
        store.path.write_bytes(whole[: cut % (len(whole) - 1)])
        with pytest.raises(StateCorruptError):
            store.read()
    finally:
        store.path.write_bytes(whole)


def test_a_lost_registry_is_noticed(paths: ReleasePaths, store: FileRegistry) -> None:
    """With entries in the ledger a missing registry is an error: the next release would pass uncompared."""
    FileLedger(paths).append(LedgerEntry(at=NOW, event=Event.REGISTERED, release_id="r", by="test", run_id="run-a"))
    store.path.unlink()
    with pytest.raises(StateCorruptError, match="missing although"):
        store.read()
    with pytest.raises(StateCorruptError):
        store.update(first_release)


def test_a_lock_that_is_held_too_long_is_reported(paths: ReleasePaths, store: FileRegistry) -> None:
    """Waiting ends, with an error that says what to do; reading needs no lock."""
    hasty = FileRegistry(paths, lock_timeout_seconds=0.05)
    with FileLock(f"{store.path}.lock"):
        with pytest.raises(StateBusyError, match="retry"):
            hasty.update(clear_latch)
        assert hasty.read() == store.read()


def test_a_change_that_is_already_true_does_not_touch_the_file(store: FileRegistry) -> None:
    """Replicas watch the file: nothing new, nothing written."""
    store.update(lambda registry: set_latch(registry, reason="why", by="who", at=NOW))
    before = store.path.stat()
    store.update(lambda registry: set_latch(registry, reason="why", by="who", at=NOW))
    after = store.path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_a_killed_writer_left_is_cleared_by_the_next(store: FileRegistry) -> None:
    """A temporary file of a writer that died before its rename does not stay for ever."""
    leftover = Path(store.path.parent, f".{store.path.name}.dead.tmp")
    leftover.write_text("{half")
    store.update(lambda registry: set_latch(registry, reason="why", by="who", at=NOW))
    assert not leftover.exists()
    assert store.read().latch is not None


def test_a_registry_without_end_is_not_read(store: FileRegistry) -> None:
    """A terabyte of zeros behind a good one: corrupt, and no memory is taken."""
    os.truncate(store.path, 1 << 40)
    with pytest.raises(StateCorruptError, match=f"more than {limits.REGISTRY_BYTES} bytes"):
        store.read()


@pytest.mark.parametrize("event", list(Event))
def test_a_registry_that_is_missing_was_lost_if_the_ledger_tells_of_one(paths: ReleasePaths, event: Event) -> None:
    """What fails, or is told, before anything was registered is no reason to stop the first release."""
    before = {"failed", "notified", "deviated", "recovered", "alert_left", "alert_fired", "alert_silenced"}
    before |= {"alert_unsilenced", "alert_recovered", "held", "hold_ended", "pruned"}
    FileLedger(paths).append(LedgerEntry(at=NOW, event=event, release_id="r", by="test", run_id="run-a", reason="x"))
    registry = FileRegistry(paths)
    if event.value in before:
        assert registry.read() == Registry()
        assert registry.update(first_release).generation == 1
        return
    with pytest.raises(StateCorruptError, match="tells of runs that were registered"):
        registry.read()


def test_a_damaged_ledger_without_a_registry_is_no_beginning(paths: ReleasePaths) -> None:
    paths.ledger.parent.mkdir(parents=True, exist_ok=True)
    paths.ledger.write_text("{}\n")
    with pytest.raises(StateCorruptError):
        FileRegistry(paths).read()
