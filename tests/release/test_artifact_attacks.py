"""A hostile or broken run is refused by name, in little memory, and nothing but an error of ours is raised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model_release.adapters.run_files import RunFiles
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.errors import ArtifactInvalidError, RunNotFoundError
from model_release.golden import check
from model_release.paths import ReleasePaths
from tests.artifact_attacks import ATTACKS, FORMATS, MAIN_ARRAY, Attack, Format, flipped
from tests.docs_pages import PROJECT
from tests.runs import publish_factors, publish_run, stage_run


def load(paths: ReleasePaths, run_id: str) -> int:
    """Load a run as a replica does; return how many golden answers were compared."""
    with RunStore(paths).opened(run_id) as run:
        return check(open_model(run.files, run.manifest), run.golden())


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_every_attack_is_refused(paths: ReleasePaths, attack: Attack) -> None:
    """By the verification, the opening or the golden requests, and the message names the file."""
    attack.publish(paths, "run-x")
    with pytest.raises(ArtifactInvalidError) as caught:
        load(paths, "run-x")
    assert attack.file in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("kind", FORMATS)
def test_without_an_attack_the_run_loads(paths: ReleasePaths, kind: Format) -> None:
    """What the attacks change is fit to serve before."""
    Attack("nothing", kind, "", lambda _: None, signed=True).publish(paths, "run-x")
    assert load(paths, "run-x") == 4


def test_no_attack_takes_memory(tmp_path: Path) -> None:
    """All of them again in a process that may not get 128 MiB more than it has, nor run for long."""
    for number, attack in enumerate(ATTACKS):
        attack.publish(ReleasePaths(tmp_path), f"run-{number}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.open_in_little_memory", str(tmp_path), str(128 << 20)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wrong = {str(attack): found[f"run-{n}"] for n, attack in enumerate(ATTACKS) if attack.file not in found[f"run-{n}"]}
    assert not wrong


def test_what_a_linked_folder_is(paths: ReleasePaths, tmp_path: Path) -> None:
    """A run folder that is a link is no run; a staging folder that is a link is not written to, nor read from."""
    publish_run(paths, "run-a")
    outside = tmp_path / "outside"
    (paths.models / "run-a").rename(outside)
    (paths.models / "run-a").symlink_to(outside)
    store = RunStore(paths)
    assert store.run_ids() == []
    with pytest.raises(RunNotFoundError, match="run-a"):
        load(paths, "run-a")
    stage_run(paths, "run-b")
    (paths.models / "staging").rename(tmp_path / "elsewhere")
    (paths.models / "staging").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactInvalidError, match="staging"), store.staging("run-c"):
        pass
    with pytest.raises(ArtifactInvalidError, match="staging"):
        store.publish_staged("run-b")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["run-b"]


def test_the_models_folder_may_be_a_link(paths: ReleasePaths, tmp_path: Path) -> None:
    """An operator decides where the disk is."""
    publish_run(paths, "run-a")
    paths.models.rename(tmp_path / "disk")
    paths.models.symlink_to(tmp_path / "disk")
    assert load(paths, "run-a") == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_verified_is_what_is_mapped(paths: ReleasePaths, kind: Format) -> None:
    """Files, or the whole folder, exchanged after the hashes were compared: the answers are those of the verified ones."""
    publish = publish_run if kind == "ranked_lists" else publish_factors
    publish(paths, "run-a")
    folder, main = paths.models / "run-a", MAIN_ARRAY[kind]
    with RunStore(paths).opened("run-a") as run:
        for path in list(folder.iterdir()):
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(flipped(content))
        model = open_model(run.files, run.manifest)
        folder.rename(paths.models / "run-gone")
        assert check(model, run.golden()) == 4
    with RunFiles.at(paths.models / "run-gone") as files, pytest.raises(ArtifactInvalidError, match=main):
        files.verify(next(entry for entry in run.manifest.files if entry.name == main))


def test_nothing_stays_open(paths: ReleasePaths) -> None:
    """A hundred refused and accepted runs leave no descriptors behind."""
    publish_run(paths, "run-a")
    ATTACKS[0].publish(paths, "run-x")
    store = RunStore(paths)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(100):
        store.verify("run-a")
        with pytest.raises(ArtifactInvalidError):
            store.verify("run-x")
        with pytest.raises(ArtifactInvalidError):
            RunFiles.below(paths.models, "run-a", "nothing")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
