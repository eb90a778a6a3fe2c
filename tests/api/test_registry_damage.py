"""A registry that is damaged, lost or old: said loudly, never taken for an empty one, and users notice nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import StartReplica
from tests.api.home import Home
from tests.api.replica import Replica, wait_until


@pytest.fixture
def whole(replica: Replica) -> Iterator[bytes]:
    """The content of the good registry, which is put back after the test."""
    path = replica.home.paths.registry
    content = path.read_bytes()
    yield content
    if replica.models().problem is not None:
        path.write_bytes(content)
        wait_until("the registry is readable again", lambda: replica.models().problem is None)


def damaged(content: bytes) -> dict[str, bytes | None]:
    return {
        "garbage": b"\x00\xff not JSON",
        "truncated": content[: len(content) // 2],
        "empty file": b"",
        "empty object": b"{}",
        "unknown key": content.replace(b'"generation"', b'"Generation"', 1),
        "another version": content.replace(b'"schema_version": 1', b'"schema_version": 2', 1),
        "missing": None,
    }


@pytest.mark.parametrize("damage", list(damaged(b"")))
def test_a_registry_that_can_not_be_read_is_reported_and_changes_nothing(
    replica: Replica, whole: bytes, damage: str
) -> None:
    """The old run serves on and stays ready; calls are refused with 503; it heals when the file is back."""
    path = replica.home.paths.registry
    content = damaged(whole)[damage]
    assert content != whole
    before = replica.worker
    looks = replica.log.count("still serving")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    wait_until("the watcher has seen it", lambda: replica.log.count("still serving") > looks)
    report = replica.models()
    assert report.desired is None
    assert report.problem is not None
    way_out = "restore a backup from before the upgrade" if damage == "another version" else "restore it from a backup"
    assert way_out in report.problem
    assert report.workers[0] == before
    assert replica.serves("run-a")
    assert replica.ready
    assert replica.metric("recommendation_registry_readable") == 0
    for body in ({}, {"run_id": "run-b"}, {"run_id": "run-b", "prepare": True}):
        assert "registry unusable" in replica.refuse(503, **body)
    assert replica.serves("run-a")
    assert (path.read_bytes() if path.exists() else None) == content
    path.write_bytes(whole)
    wait_until("it heals", lambda: replica.metric("recommendation_registry_readable") == 1)
    assert replica.models().problem is None
    assert replica.reload(run_id="run-b")["changed"] is True


def test_a_replica_that_starts_beside_a_damaged_registry_is_not_ready(start: StartReplica, home: Home) -> None:
    """It says why, answers degraded, and serves as soon as the registry is back."""
    replica = start()
    replica.close()
    content = home.paths.registry.read_bytes()
    home.paths.registry.write_bytes(content[:-20])
    replica.start()
    wait_until("it has looked", lambda: "still serving" in replica.log)
    answer = replica.http.get("/health/ready")
    assert answer.status_code == 503
    assert "not a valid registry" in answer.json()["detail"]
    assert replica.recommend("u1")["degraded"] == "no_model"
    home.paths.registry.write_bytes(content)
    wait_until("it serves", lambda: replica.ready)
    assert replica.serves("run-a")


def test_an_older_registry_never_moves_serving_back(start: StartReplica, home: Home) -> None:
    """Restored from a backup, it desires what was given up; that is reported until it is ahead again."""
    backup = home.paths.registry.read_bytes()
    replica = start()
    replica.reload(run_id="run-b")
    replica.reload(run_id="run-c")
    served = replica.worker.generation
    looks = replica.log.count("still serving")
    home.paths.registry.write_bytes(backup)
    wait_until("the watcher has seen it", lambda: replica.log.count("still serving") > looks)
    assert replica.serves("run-c")
    report = replica.models()
    assert report.problem is not None
    assert "replaced by an older one" in report.problem
    assert report.workers[0].generation == served
    assert "generation conflict" in replica.refuse(409)
    assert "generation conflict" in replica.refuse(409, run_id="run-a", generation=home.generation)
    assert replica.serves("run-c")


def test_a_call_by_hand_on_an_older_registry_changes_nothing(start: StartReplica, home: Home) -> None:
    """A refusal means that neither replica, registry nor ledger moved."""
    backup = home.paths.registry.read_bytes()
    replica = start()
    replica.reload(run_id="run-b")
    replica.reload(run_id="run-c")
    home.paths.registry.write_bytes(backup)
    before = (home.registry.read(), home.ledger.read())
    assert "generation conflict" in replica.refuse(409, run_id="run-b", release_id="by-hand-1")
    assert (home.registry.read(), home.ledger.read()) == before
    assert replica.serves("run-c")


def test_storage_that_fails_is_an_outage_and_worth_a_retry(replica: Replica, whole: bytes) -> None:
    """A folder where the registry should be stands for whatever a disk or a share can do."""
    path = replica.home.paths.registry
    path.unlink()
    path.mkdir()
    try:
        answer = replica.post("/models/reload", {"run_id": "run-b"})
        assert answer.status_code == 503
        assert answer.json()["title"] == "storage unusable"
        assert answer.headers["Retry-After"] == "1"
        assert str(replica.home.paths.root) not in answer.text
        assert replica.serves("run-a")
    finally:
        path.rmdir()
        path.write_bytes(whole)
