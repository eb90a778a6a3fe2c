"""The state of releases as metrics: what registry, ledger and reconciliation say now, or that they say nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.registry import CollectorRegistry

from alert_bridge.release_state import ReleaseState
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Registry, end_trial, promote, register, set_latch, start_trial
from model_release.unsent import not_sent
from tests.bridge.conftest import StartBridge

AT = dt.datetime(2026, 11, 25, 9, 0, tzinfo=dt.UTC)
LEASE = AT + dt.timedelta(minutes=5)
Ask = Callable[..., float | None]


@pytest.fixture
def paths(tmp_path: Path) -> ReleasePaths:
    """Return a state with a current run, a trial and a ledger."""
    paths = ReleasePaths(tmp_path)
    store = FileRegistry(paths)
    for run_id in ("good", "new"):
        store.update(lambda old, run_id=run_id: _registered(old, run_id))  # type: ignore[misc]  # bound at once
    store.update(lambda old: promote(old, run_id="good", release_id="rel-1", at=AT))
    store.update(
        lambda old: start_trial(
            old, run_id="new", mode="canary", rollout=0.1, release_id="rel-2", at=AT, lease_until=LEASE
        )
    )
    ledger = FileLedger(paths)
    for event, release_id in ((Event.COMMITTED, "rel-1"), (Event.RELEASED, "rel-1"), (Event.VERIFIED, "rel-1")):
        ledger.append(LedgerEntry(at=AT, event=event, release_id=release_id, by="airflow", mode="primary"))
    ledger.append(LedgerEntry(at=LEASE, event=Event.REGISTERED, release_id="rel-2", by="airflow", run_id="new"))
    return paths


@pytest.fixture
def ask(paths: ReleasePaths) -> Ask:
    """Return what a scrape says of one series; None: there is none."""
    registry = CollectorRegistry()
    registry.register(ReleaseState(paths))

    def one(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"model_release_{name}", labels)

    return one


def _registered(old: Registry, run_id: str) -> Registry:
    return register(old, run_id=run_id, manifest_sha256="0" * 64, release_id="rel-0", at=AT)


def series(ask: Ask) -> set[str]:
    """Return the names that have a sample now."""
    return {name for name, labels in ALL.items() if any(ask(name, **one) is not None for one in labels)}


ALL: dict[str, list[dict[str, str]]] = {
    "state_readable": [{}],
    "generation": [{}],
    "current_info": [{"run_id": "good"}, {"run_id": "new"}],
    "candidate_info": [{"run_id": "new", "mode": "canary"}],
    "candidate_lease_timestamp_seconds": [{"run_id": "new"}],
    "latched": [{}],
    "last_released_timestamp_seconds": [{}],
    "messages_not_sent_total": [{}],
    "open_timestamp_seconds": [{"release_id": "rel-2"}],
    "reconciliation_timestamp_seconds": [{}],
    "reconciliation_status": [{"status": "differs"}],
}


def test_everything_is_told(ask: Ask) -> None:
    """Each series with the value of the files."""
    assert series(ask) == set(ALL) - {"reconciliation_timestamp_seconds", "reconciliation_status"}
    assert ask("state_readable") == 1
    assert ask("generation") == 2
    assert ask("current_info", run_id="good") == 1
    assert ask("candidate_info", run_id="new", mode="canary") == 1
    assert ask("candidate_lease_timestamp_seconds", run_id="new") == LEASE.timestamp()
    assert ask("latched") == 0
    assert ask("last_released_timestamp_seconds") == AT.timestamp()
    assert ask("open_timestamp_seconds", release_id="rel-2") == LEASE.timestamp()
    assert ask("open_timestamp_seconds", release_id="rel-1") is None


def test_messages_that_airflow_could_not_send_are_counted(ask: Ask, paths: ReleasePaths) -> None:
    """From the ledger: a bridge that starts again does not count anew; what was told counts nothing."""
    ledger, told = FileLedger(paths), {"release_id": "rel-1", "by": "airflow"}
    assert ask("messages_not_sent_total") == 0
    ledger.append(LedgerEntry(at=LEASE, event=Event.NOTIFIED, reason="verified: not sent: in words only", **told))
    assert ask("messages_not_sent_total") == 0
    for fact in ("verified", "verified", "rejected"):  # the same fact is one message
        ledger.append(not_sent(fact, ModelReleaseError("errcode 93000"), at=LEASE, **told))
    assert ask("messages_not_sent_total") == 2


def test_each_scrape_reads_anew(ask: Ask, paths: ReleasePaths) -> None:
    """A change is there with the next scrape, and what ended has no series any more."""
    assert ask("latched") == 0
    FileRegistry(paths).update(lambda old: end_trial(set_latch(old, reason="bad", by="me", at=AT)))
    FileLedger(paths).append(LedgerEntry(at=LEASE, event=Event.REJECTED, release_id="rel-2", by="airflow"))
    assert (ask("latched"), ask("generation")) == (1, 4)
    assert ask("candidate_info", run_id="new", mode="canary") is None
    assert ask("candidate_lease_timestamp_seconds", run_id="new") is None
    assert ask("open_timestamp_seconds", release_id="rel-2") is None


@pytest.mark.parametrize("which", ["registry", "ledger"])
@pytest.mark.parametrize("damage", ["cut", "lost", "folder"])
def test_what_can_not_be_read_has_no_old_numbers(ask: Ask, paths: ReleasePaths, which: str, damage: str) -> None:
    """Only ``model_release_state_readable`` is left, with 0; when the file is back, all are."""
    file: Path = getattr(paths, which)
    content = file.read_bytes()
    assert ask("state_readable") == 1
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 3] + b"\n")
    assert series(ask) == {"state_readable"}
    assert ask("state_readable") == 0
    if damage == "folder":
        file.rmdir()
    file.write_bytes(content)
    assert ask("state_readable") == 1
    assert "generation" in series(ask)


def test_the_newest_reconciliation(ask: Ask, paths: ReleasePaths) -> None:
    """Its time and what it says; one that can't be used has no series."""
    paths.evaluation.mkdir(parents=True)
    document = {
        "schema_version": 1,
        "date": "2026-11-24",
        "written_at": "2026-11-25T02:00:00+00:00",
        "status": "differs",
        "problems": ["registry and ledger disagree"],
    }
    file = paths.reconciliation_of(dt.date(2026, 11, 24))
    file.write_text(json.dumps(document))
    assert ask("reconciliation_timestamp_seconds") == dt.datetime(2026, 11, 25, 2, tzinfo=dt.UTC).timestamp()
    assert [ask("reconciliation_status", status=one) for one in ("agrees", "differs", "missing")] == [0, 1, 0]
    file.write_text("{}")
    assert ask("reconciliation_timestamp_seconds") is None
    assert ask("reconciliation_status", status="differs") is None
    assert ask("state_readable") == 1


def test_a_real_bridge_shows_it(start: StartBridge, paths: ReleasePaths) -> None:
    """Over HTTP, before the first release, and with a damaged registry."""
    bridge = start()
    assert bridge.value("model_release_state_readable") == 1
    assert bridge.value("model_release_generation") == 0
    moved = ReleasePaths(bridge.home)
    moved.models.mkdir()
    moved.ledger.write_bytes(paths.ledger.read_bytes())
    moved.registry.write_bytes(paths.registry.read_bytes())
    assert bridge.value('model_release_current_info{run_id="good"}') == 1
    moved.registry.write_text("{")
    assert bridge.value("model_release_state_readable") == 0
    assert bridge.value("model_release_generation") is None
    assert bridge.metrics().count("the state") == 0
    assert bridge.log.count("the state of releases can't be read") == 1
