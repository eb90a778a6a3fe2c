"""Old runs on a real disk: gone, told, and never half; whoever is killed, or holds, or releases meanwhile."""

from __future__ import annotations

import datetime as dt
import functools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from model_release import hold as hold_command
from model_release import prune as prune_command
from model_release import registry as transitions
from model_release.adapters import run_pruning
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_pruning import Pruner, hold
from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.errors import RunNotFoundError, StateBusyError
from model_release.ledger import Event
from model_release.paths import ReleasePaths
from model_release.policy.retention import Retention
from model_release.registry import Registry
from tests.runs import publish_run, stage_run

TIGHT = Retention(newest=1, days=0.0, past_currents=2, staging_hours=1.0)
RUNS = tuple(f"run-{number}" for number in range(6))


def aged(folder: Path, *, hours: float = 1000.0) -> None:
    at = utc_now().timestamp() - hours * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (at, at))


@pytest.fixture
def world(paths: ReleasePaths) -> ReleasePaths:
    """Six runs; the first four were made current, one after the other."""
    store = FileRegistry(paths)
    for place, run_id in enumerate(RUNS):
        publish_run(paths, run_id, seed=place)
        aged(paths.models / run_id, hours=1000.0 - place)
        sha = RunStore(paths).manifest_sha256(run_id)
        at = utc_now() - dt.timedelta(days=40)
        store.update(
            lambda old, run_id=run_id, sha=sha, at=at: transitions.register(  # type: ignore[misc]
                old, run_id=run_id, manifest_sha256=sha, release_id="r", at=at
            )
        )
    for run_id in RUNS[:4]:
        promote(paths, run_id)
    return paths


def promote(paths: ReleasePaths, run_id: str) -> Registry:
    at = utc_now() - dt.timedelta(days=30)
    return FileRegistry(paths).update(
        lambda old: transitions.promote(old, run_id=run_id, release_id=f"of-{run_id}", at=at)
    )


def sweep(paths: ReleasePaths) -> list[str]:
    return [run.run_id for run in Pruner(paths, TIGHT, by="test").sweep(utc_now()).runs.doomed]


def pruned(paths: ReleasePaths) -> list[str | None]:
    return [entry.run_id for entry in FileLedger(paths).read() if entry.event is Event.PRUNED]


def test_what_may_go_is_gone_from_disk_and_registry_and_stands_in_the_ledger(world: ReleasePaths) -> None:
    (world.evaluation / "run-0").mkdir(parents=True)
    (world.evaluation / "run-0" / "summary.json").write_text("{}")
    before, sha = FileRegistry(world).read(), RunStore(world).manifest_sha256("run-0")
    assert [run.run_id for run in Pruner(world, TIGHT, by="test").look(utc_now()).runs.doomed] == ["run-0", "run-4"]
    assert set(RunStore(world).run_ids()) == set(RUNS)
    assert sweep(world) == ["run-0", "run-4"]
    after = FileRegistry(world).read()
    assert set(RunStore(world).run_ids()) == {"run-1", "run-2", "run-3", "run-5"}
    assert {run.run_id for run in after.runs} == {"run-1", "run-2", "run-3", "run-5"}
    assert (after.generation, after.current, after.history) == (before.generation, before.current, before.history)
    entry = next(one for one in FileLedger(world).read() if one.run_id == "run-0")
    assert (entry.event, entry.by, entry.generation) == (Event.PRUNED, "test", before.generation)
    assert entry.details["manifest_sha256"] == sha
    assert entry.details["bytes"] > 0
    assert (world.evaluation / "run-0" / "summary.json").exists()
    assert list(world.trash.iterdir()) == []
    assert sweep(world) == []
    assert pruned(world) == ["run-0", "run-4"]


def test_who_has_the_files_mapped_goes_on_reading(world: ReleasePaths) -> None:
    mapped = np.load(world.models / "run-0" / "popular.npy", mmap_mode="r")
    before = mapped.tolist()
    sweep(world)
    assert not (world.models / "run-0").exists()
    assert mapped.tolist() == before


def test_a_run_that_becomes_current_just_before_the_lock_is_kept(
    world: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the state under the lock, not the one that was looked at before."""
    update = FileRegistry.update

    def late(store: FileRegistry, *args: object, **options: object) -> Registry:
        monkeypatch.setattr(FileRegistry, "update", update)
        promote(world, "run-0")
        return store.update(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FileRegistry, "update", late)
    assert "run-0" not in sweep(world)
    assert FileRegistry(world).read().current.run_id == "run-0"  # type: ignore[union-attr]
    assert RunStore(world).verify("run-0").run_id == "run-0"


def test_a_release_that_comes_too_late_finds_the_run_unregistered(world: ReleasePaths) -> None:
    """It was prepared before the sweep; its commit after it changes nothing."""
    sweep(world)
    with pytest.raises(RunNotFoundError, match="'run-0' is not in the registry"):
        promote(world, "run-0")
    assert FileRegistry(world).read().current.run_id == "run-3"  # type: ignore[union-attr]


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("moment", ["write_registry", "tell", "delete"])
def test_a_sweep_that_is_killed_is_finished_by_the_next(
    world: ReleasePaths, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between any two steps: at the end the files are gone, the pin is gone, and the ledger says so."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    target = {
        "write_registry": "model_release.adapters.file_registry.write_atomic",
        "tell": "model_release.adapters.file_ledger.FileLedger.append",
        "delete": "model_release.adapters.run_pruning.shutil.rmtree",
    }[moment]
    with monkeypatch.context() as patch:
        patch.setattr(target, die)
        with pytest.raises(Killed):
            sweep(world)
    assert FileRegistry(world).read().current.run_id == "run-3"  # type: ignore[union-attr]
    assert RunStore(world).verify("run-3").run_id == "run-3"
    sweep(world)
    assert set(RunStore(world).run_ids()) == {"run-1", "run-2", "run-3", "run-5"}
    assert {run.run_id for run in FileRegistry(world).read().runs} == {"run-1", "run-2", "run-3", "run-5"}
    assert sorted(filter(None, pruned(world))) == ["run-0", "run-4"]
    assert list(world.trash.iterdir()) == []


def test_a_run_that_was_made_again_after_a_killed_sweep_is_a_run_like_any_other(
    world: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "append", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            sweep(world)
    publish_run(world, "run-0", seed=0)
    assert sweep(world) == ["run-5"]  # no longer the newest
    assert RunStore(world).verify("run-0").run_id == "run-0"


def test_a_held_run_stays_until_the_hold_ends(world: ReleasePaths) -> None:
    hold(world, "run-0", held=True, reason="a comparison", by="me", now=utc_now())
    assert sweep(world) == ["run-4"]
    hold(world, "run-0", held=False, reason="done", by="me", now=utc_now())
    assert sweep(world) == ["run-0"]
    with pytest.raises(RunNotFoundError, match="no run 'run-0'"):
        hold(world, "run-0", held=True, reason="too late", by="me", now=utc_now())
    with pytest.raises(RunNotFoundError, match="is not on hold"):
        hold(world, "run-1", held=False, reason="never was", by="me", now=utc_now())


def test_a_hold_waits_for_the_registry_lock(world: ReleasePaths) -> None:
    """So no sweep can have looked at the holds before, and move the run after."""
    with FileLock(f"{world.registry}.lock"):
        thread = threading.Thread(target=hold, args=(world, "run-0"), kwargs={"held": True, "reason": "why", "by": "me", "now": utc_now()})  # fmt: skip
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert FileLedger(world).read() == []
    thread.join(10)
    assert [entry.event for entry in FileLedger(world).read()] == [Event.HELD]


def test_holds_and_pruning_need_no_registry(paths: ReleasePaths) -> None:
    """Before the first release too; and the ledger then does not read as one whose registry was lost."""
    for place, run_id in enumerate(("a", "b", "c")):
        publish_run(paths, run_id)
        aged(paths.models / run_id, hours=100.0 - place)
    hold(paths, "a", held=True, reason="why", by="me", now=utc_now())
    assert sweep(paths) == ["b"]
    assert FileRegistry(paths).read() == Registry()


def test_unfinished_runs_go_when_nobody_writes_to_them(world: ReleasePaths) -> None:
    for run_id in ("left-behind", "under-way"):
        stage_run(world, run_id)
    aged(world.models / "staging" / "left-behind")
    aged(world.models / "staging" / "under-way")
    (world.models / "staging" / "under-way" / "half").write_text("x")
    swept = Pruner(world, TIGHT, by="test").sweep(utc_now())
    assert [run.run_id for run in swept.staging.doomed] == ["left-behind"]
    assert [path.name for path in (world.models / "staging").iterdir()] == ["under-way"]
    assert "left-behind" not in pruned(world)


def test_pruning_waits_for_a_backup(world: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = functools.partial(run_pruning.no_pruning, timeout_seconds=0.1)
    monkeypatch.setattr(run_pruning, "no_pruning", impatient)
    with run_pruning.no_pruning(world), pytest.raises(StateBusyError, match="pruned or backed up"):
        sweep(world)
    assert set(RunStore(world).run_ids()) == set(RUNS)


def test_the_commands(
    world: ReleasePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person's way: look, hold, list, prune, end."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(world.root))
    policy = tmp_path / "policy.yaml"
    checks = "checks: [{name: a, kind: absolute, metric: ndcg_at_10, at_least: 0.1, minimum_users: 9}]\n"
    keep = "retention: {newest: 1, days: 0, past_currents: 2}\n"
    policy.write_text("schema_version: 1\nname: test\n" + keep + checks)
    arguments = ["--policy", str(policy)]
    assert prune_command.main([*arguments, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 would go" in out
    assert "run-3" in out
    assert "current" in out
    assert hold_command.main(["run-0", "--by", "Lin Yu", "--reason", "a comparison"]) == 0
    assert hold_command.main([]) == 0
    assert "Lin Yu" in capsys.readouterr().out
    assert prune_command.main(arguments) == 0
    assert "1 went" in capsys.readouterr().out
    assert hold_command.main(["run-0", "--end", "--by", "Lin Yu", "--reason", "done"]) == 0
    assert hold_command.main(["nobody", "--by", "Lin Yu", "--reason", "a comparison"]) == 1
    assert "no run 'nobody'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        hold_command.main(["run-0", "--by", "Lin Yu"])
    policy.write_text("schema_version: 1\nname: test\n" + checks)
    assert prune_command.main(arguments) == 0
    assert "no retention" in capsys.readouterr().out
    assert {entry.by for entry in FileLedger(world).read() if entry.event is Event.PRUNED} == {"command line"}
