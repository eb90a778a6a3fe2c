"""A run that is not what it was when it was trained is refused with 424, and the old run keeps serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_release.artifact import GOLDEN_NAME, MANIFEST_NAME
from tests.api.home import alter_a_byte, replace_file
from tests.api.replica import Replica

FILES = ("user_lists.npy", "similar_lists.npy", "popular.npy", "users.arrow", GOLDEN_NAME)


@pytest.fixture
def unchanged(replica: Replica) -> Iterator[Replica]:
    """The replica, which serves and desires the same run before and after the test."""
    before = replica.home.registry.read()
    yield replica
    assert replica.serves("run-a")
    assert replica.home.registry.read() == before
    assert replica.worker.current == "run-a"


@pytest.mark.parametrize("name", FILES)
def test_an_altered_byte_is_found(unchanged: Replica, name: str) -> None:
    """In whichever file: by a reload, by a preparation and by a trial."""
    run_id = f"run-altered-{FILES.index(name)}"
    alter_a_byte(unchanged.home.publish(run_id) / name)
    assert name in unchanged.refuse(424, run_id=run_id)
    assert name in unchanged.refuse(424, run_id=run_id, prepare=True)
    assert name in unchanged.refuse(424, run_id=run_id, mode="shadow", rollout=0.1)


def test_a_truncated_a_missing_and_an_extra_file_are_found(unchanged: Replica) -> None:
    """The manifest names every file with its size."""
    folder = unchanged.home.publish("run-incomplete")
    lists = folder / "user_lists.npy"
    content = lists.read_bytes()
    replace_file(lists, content[:-4])
    assert "bytes" in unchanged.refuse(424, run_id="run-incomplete")
    lists.unlink()
    assert "user_lists.npy" in unchanged.refuse(424, run_id="run-incomplete")
    replace_file(lists, content)
    replace_file(folder / "extra.npy", content)
    assert "extra.npy" in unchanged.refuse(424, run_id="run-incomplete")


def test_a_run_without_a_whole_manifest_is_not_served(unchanged: Replica) -> None:
    """Half a manifest, none, or another run's."""
    folder = unchanged.home.publish("run-halved")
    manifest = folder / MANIFEST_NAME
    content = manifest.read_bytes()
    replace_file(manifest, content[: len(content) // 2])
    assert "not a valid manifest" in unchanged.refuse(424, run_id="run-halved")
    replace_file(manifest, (unchanged.home.runs.folder("run-b") / MANIFEST_NAME).read_bytes())
    assert "belongs to run" in unchanged.refuse(424, run_id="run-halved")
    manifest.unlink()
    assert "never completed" in unchanged.refuse(424, run_id="run-halved")


def test_a_run_that_answers_otherwise_than_recorded_is_refused(unchanged: Replica) -> None:
    """All hashes are right; the recorded answer is another one."""
    unchanged.home.publish_with_wrong_golden("run-mismatch")
    assert "golden request recommend/u1" in unchanged.refuse(424, run_id="run-mismatch")
    assert "golden request" in unchanged.refuse(424, run_id="run-mismatch", prepare=True)
    assert "run-mismatch" not in unchanged.worker.resident


def test_a_manifest_that_is_not_the_registered_one_is_refused(replica: Replica) -> None:
    """The registry pins every run; a run that was changed after its registration is another run."""
    replica.home.publish("run-pinned")
    replica.home.register("run-pinned")
    before = replica.home.registry.read()
    replica.home.rewrite_manifest("run-pinned")
    assert "not the one that was registered" in replica.refuse(424, run_id="run-pinned")
    assert "not the one that was registered" in replica.refuse(424, run_id="run-pinned", prepare=True)
    assert replica.home.registry.read() == before
    assert replica.serves("run-a")


def test_a_resident_run_with_another_manifest_is_not_taken_from_memory(replica: Replica) -> None:
    """What was loaded an hour ago does not speak for the files of today."""
    replica.home.publish("run-resident")
    replica.home.register("run-resident")
    replica.reload(run_id="run-resident", prepare=True)
    replica.home.rewrite_manifest("run-resident")
    assert "not the one that was registered" in replica.refuse(424, run_id="run-resident")
    assert replica.serves("run-a")
