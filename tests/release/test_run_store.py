"""Runs on disk: complete, verified and never changed, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release import golden
from model_release.adapters.files import sha256_of
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import Manifest
from model_release.errors import ArtifactInvalidError, InvalidRunIdError, RunExistsError, RunNotFoundError
from model_release.paths import ReleasePaths
from tests.runs import publish_run, stage_run


@pytest.fixture
def store(paths: ReleasePaths) -> RunStore:
    """Give a store with the published run ``run-a``."""
    publish_run(paths, "run-a")
    return RunStore(paths)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_published_run_verifies_loads_and_answers_as_recorded(store: RunStore) -> None:
    """From staging to answers: what was written is what is served."""
    manifest = store.verify("run-a")
    model = open_model(store.folder("run-a"), manifest)
    assert golden.check(model, store.golden("run-a")) == 4
    assert store.run_ids() == ["run-a"]
    assert not store.folder("run-a", source="staging").exists()


def test_nothing_is_ever_overwritten(paths: ReleasePaths, store: RunStore) -> None:
    """Publishing a run again is refused, and the published files stay as they are, to the byte."""
    before = content(store.folder("run-a"))
    with pytest.raises(RunExistsError, match="never overwritten"):
        store.publish(stage_run(paths, "run-a", seed=1))
    assert content(store.folder("run-a")) == before


def flip_a_byte(folder: Path) -> None:
    """Alter one byte of a data file; its size stays."""
    path = folder / "user_lists.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def cut(folder: Path) -> None:
    """Cut the last byte of a data file."""
    os.truncate(folder / "popular.npy", (folder / "popular.npy").stat().st_size - 1)


def remove(folder: Path) -> None:
    """Remove a data file."""
    (folder / "items.arrow").unlink()


def add(folder: Path) -> None:
    """Add a file that the manifest does not know."""
    (folder / "extra.npy").write_bytes(b"x")


def add_folder(folder: Path) -> None:
    """Add a folder."""
    (folder / "extra").mkdir()


def link(folder: Path) -> None:
    """Replace a data file by a link to a copy with the same bytes."""
    path = folder / "users.arrow"
    path.rename(folder.parent.parent / "elsewhere")
    path.symlink_to(folder.parent.parent / "elsewhere")


def link_manifest(folder: Path) -> None:
    """Replace the manifest by a link."""
    (folder / "manifest.json").rename(folder.parent.parent / "elsewhere.json")
    (folder / "manifest.json").symlink_to(folder.parent.parent / "elsewhere.json")


def remove_manifest(folder: Path) -> None:
    """Remove the manifest."""
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    """Cut the manifest in half."""
    os.truncate(folder / "manifest.json", (folder / "manifest.json").stat().st_size // 2)


def bloat_manifest(folder: Path) -> None:
    """Make the manifest larger than any honest one; sparse, so that the disk does not fill."""
    os.truncate(folder / "manifest.json", 17 << 20)


DAMAGES = [
    flip_a_byte,
    cut,
    remove,
    add,
    add_folder,
    link,
    link_manifest,
    remove_manifest,
    cut_manifest,
    bloat_manifest,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_noticed(store: RunStore, damage: Callable[[Path], None]) -> None:
    """Altered, missing, extra and linked files, and a damaged manifest: the run is refused."""
    damage(store.folder("run-a"))
    with pytest.raises(ArtifactInvalidError):
        store.verify("run-a")


@pytest.mark.parametrize("damage", [flip_a_byte, cut, remove, add], ids=lambda damage: damage.__name__)
def test_a_damaged_run_is_never_published(paths: ReleasePaths, damage: Callable[[Path], None]) -> None:
    """What changed between writing and publishing never appears under ``models/``."""
    manifest = stage_run(paths, "run-a")
    store = RunStore(paths)
    damage(store.folder("run-a", source="staging"))
    with pytest.raises((ArtifactInvalidError, FileNotFoundError)):
        store.publish(manifest)
    assert store.run_ids() == []
    with pytest.raises(RunNotFoundError):
        store.verify("run-a")


@given(position=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_altered_bit_passes(store: RunStore, position: int, bit: int) -> None:
    """Whichever bit of whichever file changes: the run is refused, with the manifest pinned even for the manifest."""
    pinned = store.manifest_sha256("run-a")
    files = sorted(store.folder("run-a").iterdir())
    everything = [(path, offset) for path in files for offset in range(path.stat().st_size)]
    path, offset = everything[position % len(everything)]
    original = path.read_bytes()
    altered = bytearray(original)
    altered[offset] ^= 1 << bit
    path.write_bytes(bytes(altered))
    try:
        with pytest.raises(ArtifactInvalidError):
            store.verify("run-a", manifest_sha256=pinned)
    finally:
        path.write_bytes(original)
    store.verify("run-a", manifest_sha256=pinned)


def test_a_manifest_that_was_replaced_is_not_the_registered_one(store: RunStore) -> None:
    """A consistent but different manifest is refused when the hash is pinned."""
    pinned = store.manifest_sha256("run-a")
    path = store.folder("run-a") / "manifest.json"
    changed = Manifest.model_validate_json(path.read_bytes()).model_copy(update={"git_commit": "f" * 40})
    path.write_text(changed.model_dump_json())
    assert store.verify("run-a") == changed
    with pytest.raises(ArtifactInvalidError, match="not the one that was registered"):
        store.verify("run-a", manifest_sha256=pinned)


def test_a_run_under_another_name_is_refused(store: RunStore) -> None:
    """A copied folder does not become another run."""
    shutil.copytree(store.folder("run-a"), store.folder("run-b"))
    with pytest.raises(ArtifactInvalidError, match="belongs to run 'run-a'"):
        store.verify("run-b")


def test_a_link_is_not_a_run(store: RunStore) -> None:
    """A folder that is a link could be swapped under a verified run."""
    store.folder("run-b").symlink_to(store.folder("run-a"))
    with pytest.raises(RunNotFoundError):
        store.manifest("run-b")


def test_an_unknown_run_names_those_that_are_there(store: RunStore) -> None:
    """The message helps: which runs exist."""
    with pytest.raises(RunNotFoundError, match="run-a"):
        store.verify("run-z")


@given(st.one_of(st.text(max_size=70), st.from_regex(r"(\.\./|/|~|\w)*", fullmatch=True)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_name_leads_out_of_the_models_folder(store: RunStore, name: str) -> None:
    """For every name: it is refused, or its folder lies directly below ``models/``."""
    try:
        folder = store.folder(name)
    except InvalidRunIdError:
        return
    assert folder.resolve().parent == store.folder("run-a").resolve().parent


def test_staging_starts_empty_and_leaves_nothing_behind_on_an_error(paths: ReleasePaths) -> None:
    """A second attempt never finds files of the first; a failed one is removed."""
    store = RunStore(paths)
    leftover = store.folder("run-a", source="staging")
    leftover.mkdir(parents=True)
    (leftover / "old.npy").write_bytes(b"x")

    def fail() -> None:
        with store.staging("run-a") as folder:
            assert list(folder.iterdir()) == []
            (folder / "new.npy").write_bytes(b"y")
            raise RuntimeError("training broke")

    with pytest.raises(RuntimeError, match="training broke"):
        fail()
    assert not leftover.exists()
    assert store.run_ids() == []


def test_a_staged_run_is_not_a_published_one(paths: ReleasePaths) -> None:
    """Before the rename nobody finds the run, not even by asking for a run called staging."""
    stage_run(paths, "run-a")
    store = RunStore(paths)
    assert store.run_ids() == []
    with pytest.raises(RunNotFoundError):
        store.manifest("run-a")
    with pytest.raises(InvalidRunIdError):
        store.manifest("staging")


def test_a_run_without_golden_requests_is_refused(paths: ReleasePaths) -> None:
    """A run whose answers can't be checked is not a run."""
    manifest = stage_run(paths, "run-a")
    store = RunStore(paths)
    (store.folder("run-a", source="staging") / "golden.jsonl").unlink()
    files = tuple(entry for entry in manifest.files if entry.name != "golden.jsonl")
    with pytest.raises(ArtifactInvalidError, match="no golden"):
        store.publish(manifest.model_copy(update={"files": files}))


@pytest.mark.parametrize("text", ["{", '{"endpoint": "recommend"}', '{"endpoint":"x","id":"u","k":1,"expected":[]}'])
def test_malformed_golden_requests_are_an_error(store: RunStore, text: str) -> None:
    """They are never skipped."""
    (store.folder("run-a") / "golden.jsonl").write_text(text)
    with pytest.raises(ArtifactInvalidError, match="malformed"):
        store.golden("run-a")


def test_golden_requests_are_read_before_the_run_is_complete(paths: ReleasePaths) -> None:
    """A writer may look at what it recorded; the manifest comes last."""
    stage_run(paths, "run-a")
    assert len(RunStore(paths).golden("run-a", source="staging")) == 4


def test_the_hash_of_the_manifest_is_that_of_its_file(store: RunStore) -> None:
    """What is pinned is the file, byte by byte."""
    assert store.manifest_sha256("run-a") == sha256_of(store.folder("run-a") / "manifest.json")


def test_the_newest_run_comes_first(paths: ReleasePaths, store: RunStore) -> None:
    """By the time of the manifest."""
    publish_run(paths, "run-0")
    os.utime(store.folder("run-0") / "manifest.json", ns=(1, 1))
    assert store.run_ids() == ["run-a", "run-0"]
