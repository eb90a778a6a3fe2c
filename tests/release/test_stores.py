"""What every registry store and every ledger promises, whether files or memory."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import GenerationConflictError, InvalidInputError
from model_release.ledger import Event, Ledger, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Registry, RegistryStore, clear_latch, register, set_latch
from tests.fakes import MemoryLedger, MemoryRegistry

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RegistryStore:
    """Give an empty registry store of each kind."""
    return FileRegistry(ReleasePaths(tmp_path)) if request.param == "file" else MemoryRegistry()


@pytest.fixture(params=["file", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """Give an empty ledger of each kind."""
    return FileLedger(ReleasePaths(tmp_path)) if request.param == "file" else MemoryLedger()


def latch(registry: Registry) -> Registry:
    """Change the desired state in the simplest way."""
    return set_latch(registry, reason="why", by="who", at=NOW)


def toggle(registry: Registry) -> Registry:
    """Change the desired state every time."""
    return clear_latch(registry) if registry.latch else latch(registry)


def entry(number: int = 0, **changes: object) -> LedgerEntry:
    """Return an entry of release ``release-<number>``."""
    fields = {"at": NOW, "event": Event.REGISTERED, "release_id": f"release-{number}", "by": "test", "run_id": "run-a"}
    return LedgerEntry.model_validate({**fields, **changes})


def test_a_new_store_desires_nothing(store: RegistryStore) -> None:
    """Before anything: generation 0, no run."""
    assert store.read() == Registry()


def test_an_update_is_what_is_read(store: RegistryStore) -> None:
    """The result of an update is the state from then on."""
    after = store.update(latch)
    assert after.generation == 1
    assert store.read() == after


def test_a_change_that_is_already_true_changes_nothing(store: RegistryStore) -> None:
    """The same update again returns the same state."""
    first = store.update(latch)
    assert store.update(latch) == first
    assert store.read() == first


def test_compare_and_set(store: RegistryStore) -> None:
    """An update that builds on an older generation is refused, says both, and changes nothing."""
    store.update(toggle)
    after = store.update(toggle, expected_generation=1)
    assert after.generation == 2
    with pytest.raises(GenerationConflictError) as caught:
        store.update(toggle, expected_generation=1)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert store.read() == after


def test_an_update_that_raises_changes_nothing(store: RegistryStore) -> None:
    """A transition that refuses leaves the state as it was."""
    before = store.update(
        lambda registry: register(registry, run_id="run-a", manifest_sha256="a" * 64, release_id="r", at=NOW)
    )
    with pytest.raises(InvalidInputError):
        store.update(
            lambda registry: register(registry, run_id="run-a", manifest_sha256="b" * 64, release_id="r", at=NOW)
        )
    assert store.read() == before


def test_of_many_that_build_on_one_generation_one_wins(store: RegistryStore) -> None:
    """Compare-and-set from many threads at once: exactly one gets it, all others learn that they did not."""
    won, lost = _together(8, lambda _: store.update(toggle, expected_generation=0), GenerationConflictError)
    assert (won, lost) == (1, 7)
    assert store.read().generation == 1


def test_no_concurrent_update_is_lost(store: RegistryStore) -> None:
    """Without an expectation every update counts."""

    def change_ten_times(_: int) -> None:
        for _ in range(10):
            store.update(toggle)

    _together(4, change_ten_times, GenerationConflictError)
    assert store.read().generation == 40


def test_entries_come_back_in_order(ledger: Ledger) -> None:
    """Oldest first, with everything they say."""
    entries = [entry(number, reason="原因\nline two", details={"n": [1, 2.5, None]}) for number in range(3)]
    assert all(ledger.append(each) for each in entries)
    assert list(ledger.read()) == entries


def test_a_fact_is_kept_once(ledger: Ledger) -> None:
    """A retried task reports the same fact later and in other words of detail: it is not news."""
    assert ledger.append(entry())
    assert not ledger.append(entry(at=NOW + dt.timedelta(hours=1), by="retry", details={"try": 2}))
    assert len(ledger.read()) == 1
    assert ledger.append(entry(event=Event.FAILED))


def test_of_many_who_report_a_fact_one_writes_it(ledger: Ledger) -> None:
    """The same fact from many threads at once stands there once."""
    written: list[bool] = []
    _together(8, lambda _: written.append(ledger.append(entry())), RuntimeError)
    assert sorted(written) == [False] * 7 + [True]
    assert len(ledger.read()) == 1


def _together(threads: int, action: Callable[[int], object], expected: type[Exception]) -> tuple[int, int]:
    """Run ``action`` in several threads at once; return how many did it and how many raised ``expected``."""
    gate = threading.Barrier(threads)
    outcomes: list[bool] = []

    def run(number: int) -> None:
        gate.wait()
        try:
            action(number)
        except expected:
            outcomes.append(False)
        else:
            outcomes.append(True)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(outcomes) == threads
    return outcomes.count(True), outcomes.count(False)
