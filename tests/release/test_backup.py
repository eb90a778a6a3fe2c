"""A backup made while releases go on, and what comes back from it."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import json
import re
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alert_bridge.database import Database
from model_release import backup as command
from model_release.adapters.backup_restore import Restored, restore, verify_backup
from model_release.adapters.backup_write import make_backup
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_pruning import Pruner
from model_release.adapters.run_store import RunStore
from model_release.backups import GENERATION_MARGIN, Index
from model_release.contract import utc_now
from model_release.errors import ArtifactInvalidError, InvalidInputError, ModelReleaseError, StateBusyError
from model_release.ledger import Event, LedgerEntry, served_at
from model_release.open_releases import open_releases
from model_release.paths import ReleasePaths
from model_release.policy.retention import Retention
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.docs_pages import DOCS

NOW = dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An installation in which ``run-a``, then ``run-b`` became current, with evaluation, policy and queue."""
    home = Home(tmp_path / "old")
    home.commit("run-b")
    root = home.paths.root
    (home.paths.evaluation / "run-a").mkdir(parents=True)
    (home.paths.evaluation / "run-a" / "summary.json").write_text("{}")
    (home.paths.evaluation / ".half.tmp").write_text("x")
    (root / "config").mkdir()
    (root / "config" / "release_policy.yaml").write_text("schema_version: 1\n")
    home.paths.exposures.mkdir()
    (home.paths.exposures / "r.0.20261120T080000Z.0.jsonl").write_bytes(b'{"a":1}\n{"half')
    return home


def backup(home: Home, tmp_path: Path, **options: object) -> Path:
    to = tmp_path / f"backup-{len(list(tmp_path.glob('*.tar')))}.tar"
    make_backup(home.paths, to, now=NOW, **options)  # type: ignore[arg-type]
    return to


def bring_back(source: Path, root: Path, *, above: int = 0, aside: bool = False) -> Restored:
    return restore(ReleasePaths(root), source, above=above, aside=aside, by="lin", now=utc_now())


def test_what_comes_back_is_what_there_was(home: Home, tmp_path: Path) -> None:
    source = backup(home, tmp_path, exposures=True)
    before = home.registry.read()
    done = bring_back(source, tmp_path / "new", above=7)
    paths = ReleasePaths(tmp_path / "new")
    after = FileRegistry(paths).read()
    assert after == done.registry
    assert (after.current, after.history, after.runs) == (before.current, before.history, before.runs)
    assert after.generation == max(7, before.generation) + GENERATION_MARGIN
    assert after.latch is not None
    assert "backup of 2026-11-20" in after.latch.reason
    for run_id in ("run-a", "run-b", "run-c"):
        assert RunStore(paths).verify(run_id) == home.runs.verify(run_id)
    ages = [{run.run_id: run.at for run in store.found("models")} for store in (home.runs, RunStore(paths))]
    assert {run_id: abs((at - ages[1][run_id]).total_seconds()) < 1 for run_id, at in ages[0].items()} == dict.fromkeys(
        ages[0], True
    )
    *known, last = FileLedger(paths).read()
    assert known == home.ledger.read()
    assert (last.event, last.run_id, last.generation) == (Event.RESTORED, "run-b", after.generation)
    assert (paths.evaluation / "run-a" / "summary.json").read_text() == "{}"
    assert not (paths.evaluation / ".half.tmp").exists()
    assert (paths.exposures / "r.0.20261120T080000Z.0.jsonl").read_bytes() == b'{"a":1}\n'
    assert (paths.root / "config" / "release_policy.yaml").exists()
    assert not list(paths.root.rglob(".restore-*"))


def test_the_ledger_says_what_serves_after_a_restore_and_no_release_is_open(home: Home, tmp_path: Path) -> None:
    home.ledger.append(LedgerEntry(at=NOW, event=Event.REGISTERED, release_id="open", by="airflow:x", run_id="run-c"))
    assert open_releases(home.ledger.read())
    bring_back(backup(home, tmp_path), tmp_path / "new")
    entries = FileLedger(ReleasePaths(tmp_path / "new")).read()
    assert not open_releases(entries)
    in_force = served_at(entries, utc_now())
    assert in_force is not None
    assert in_force.run_id == "run-b"


def test_the_queue_of_the_bridge_comes_along_while_the_bridge_writes(home: Home, tmp_path: Path) -> None:
    folder = home.paths.root / "data" / "alert_bridge"
    database = Database(folder)
    with database.transaction() as connection:
        connection.execute("INSERT INTO sends (target, at) VALUES ('robot', 1.0)")
    source = backup(home, tmp_path)  # what was committed may still lie in the write-ahead log alone
    database.close()
    bring_back(source, tmp_path / "new")
    with contextlib.closing(sqlite3.connect(tmp_path / "new/data/alert_bridge/queue.sqlite")) as copy:
        assert copy.execute("SELECT target FROM sends").fetchall() == [("robot",)]
    Database(tmp_path / "new/data/alert_bridge").close()


def test_an_installation_that_is_not_empty_is_left_alone_unless_it_may_be_moved_aside(
    home: Home, tmp_path: Path
) -> None:
    source = backup(home, tmp_path)
    home.commit("run-c")
    root, before = home.paths.root, home.paths.registry.read_bytes()
    with pytest.raises(InvalidInputError, match=r"is not empty .*--aside; nothing was changed"):
        bring_back(source, root)
    assert home.paths.registry.read_bytes() == before
    generation = home.registry.read().generation
    done = bring_back(source, root, aside=True)
    current = home.registry.read().current
    assert current is not None
    assert current.run_id == "run-b"
    assert done.registry.generation == generation + GENERATION_MARGIN  # above the one that was replaced
    (kept,) = [folder for folder in done.aside if folder.parent == home.paths.models]
    assert (kept / "model_registry.json").read_bytes() == before
    assert (kept / "run-c" / "manifest.json").exists()
    assert (root / "config" / "release_policy.yaml").exists()  # what is configured now stays
    assert set(home.runs.run_ids()) == {"run-a", "run-b", "run-c"}


def test_only_what_pruning_never_takes_may_be_backed_up(home: Home, tmp_path: Path) -> None:
    """Then the registry that comes back names no run whose files are not there."""
    bring_back(backup(home, tmp_path, runs="protected"), tmp_path / "new")
    paths = ReleasePaths(tmp_path / "new")
    assert set(RunStore(paths).run_ids()) == {"run-a", "run-b"}
    assert {run.run_id for run in FileRegistry(paths).read().runs} == {"run-a", "run-b"}


def test_a_damaged_run_is_not_backed_up_as_if_it_were_good(home: Home, tmp_path: Path) -> None:
    path = home.paths.models / "run-a" / "popular.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactInvalidError, match=r"popular\.npy is missing or altered"):
        backup(home, tmp_path)
    assert not list(tmp_path.glob("*.tar*"))
    assert not list(tmp_path.glob(".*.part"))


def test_no_run_is_pruned_while_a_backup_is_made(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[type[Exception]] = []
    real = RunStore.manifest

    def slow(store: RunStore, run_id: str) -> object:
        from model_release.adapters.run_pruning import no_pruning

        try:
            with no_pruning(home.paths, timeout_seconds=0.05):
                tried.append(AssertionError)
        except StateBusyError:
            tried.append(StateBusyError)
        return real(store, run_id)

    monkeypatch.setattr(RunStore, "manifest", slow)
    backup(home, tmp_path)
    assert set(tried) == {StateBusyError}
    Pruner(home.paths, Retention(), by="test").sweep(utc_now())  # and afterwards it goes on


def test_registry_and_ledger_belong_together_while_releases_go_on(home: Home, tmp_path: Path) -> None:
    """Every backup of a busy installation: the ledger tells of no change that its registry does not know."""
    stop = threading.Event()

    def release() -> None:
        while not stop.is_set():
            home.commit("run-a")
            home.commit("run-b")

    thread = threading.Thread(target=release)
    thread.start()
    try:
        for number in range(5):
            root = tmp_path / f"new-{number}"
            index = verify_backup(source := backup(home, tmp_path))
            bring_back(source, root)
            paths = ReleasePaths(root)
            commits = [entry for entry in FileLedger(paths).read() if entry.event is Event.COMMITTED]
            assert max(entry.generation or 0 for entry in commits) in {index.generation, index.generation - 1}
    finally:
        stop.set()
        thread.join()


def damaged(source: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> None:
    with tarfile.open(source) as archive:
        members = [(one, archive.extractfile(one).read()) for one in archive.getmembers()]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(source, "w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def flip(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info, content = members[0]
    members[0] = info, content[:-1] + bytes([content[-1] ^ 1])


def drop(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    del members[0]


def smuggle(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("models/../../evil"), b"x"))


def smuggle_listed(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("models/../../evil"), b""))
    empty = {"name": "models/../../evil", "bytes": 0, "sha256": "0" * 64}
    index(members, lambda known: known["files"].append(empty))


def link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info, _ = members[0]
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[0] = info, b""


def later(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    index(members, lambda known: known.update({"schema_version": 7}))


def without_index(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[:] = [one for one in members if one[0].name != "backup.json"]


def index(members: list[tuple[tarfile.TarInfo, bytes]], change: Callable[[dict[str, Any]], None]) -> None:
    place = next(number for number, (info, _) in enumerate(members) if info.name == "backup.json")
    document = json.loads(members[place][1])
    change(document)
    members[place] = members[place][0], json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (flip, "is not what its index says"),
        (drop, "missing"),
        (smuggle, "not in its index"),
        (smuggle_listed, "no path of an installation"),
        (link, "not in its index"),
        (later, "schema_version is 7, this program reads up to 1"),
        (without_index, "not a complete backup"),
    ],
)
def test_a_damaged_backup_changes_nothing(
    home: Home, tmp_path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], says: str
) -> None:
    source = backup(home, tmp_path)
    damaged(source, change)
    before = home.paths.registry.read_bytes()
    for use in (lambda: verify_backup(source), lambda: bring_back(source, home.paths.root, aside=True)):
        with pytest.raises(InvalidInputError, match=says):
            use()
    assert home.paths.registry.read_bytes() == before
    assert not list(home.paths.models.glob(".before-restore-*"))
    assert not list(home.paths.root.rglob(".restore-*"))
    assert not (tmp_path / "evil").exists()


def test_half_a_backup_is_none(home: Home, tmp_path: Path) -> None:
    source = backup(home, tmp_path)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(InvalidInputError, match="not a complete backup"):
        verify_backup(source)
    with pytest.raises(InvalidInputError, match="never overwritten"):
        make_backup(home.paths, source, now=NOW)


@pytest.fixture
def replica(home: Home) -> Iterator[Replica]:
    found = Replica(home).start()
    try:
        yield found
    finally:
        found.close()


def test_a_replica_that_served_a_later_state_ends_on_the_restored_run(
    home: Home, tmp_path: Path, replica: Replica, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the page, with a real replica; without the fence it would refuse the older generation for ever."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(home.paths.root))
    file = str(tmp_path / "state.tar")
    assert command.main(["create", file]) == 0
    assert command.main(["verify", file]) == 0
    for _ in range(3):
        home.commit("run-c")
        home.commit("run-a")
    home.commit("run-c")
    wait_until("it serves the later run", lambda: serves(replica) == "run-c")
    home.paths.registry.unlink()  # the disaster: what the registry knew is gone
    home.paths.ledger.unlink()
    assert command.main(["restore", file, "--by", "lin", "--aside"]) == 2
    assert "--replica" in capsys.readouterr().err
    assert command.main(["restore", file, "--by", "lin", "--aside", "--replica", replica.url]) == 0
    assert "current run-b" in capsys.readouterr().out
    wait_until("it serves the restored run", lambda: serves(replica) == "run-b")


def serves(replica: Replica) -> str | None:
    return replica.models().workers[0].current


def test_the_page_explains_every_option() -> None:
    """docs/backup.md."""
    (commands,) = [one for one in command.parser()._actions if isinstance(one, argparse._SubParsersAction)]
    known = {name for one in commands.choices.values() for action in one._actions for name in action.option_strings}
    page = (DOCS / "backup.md").read_text(encoding="utf-8").split("## Options")[1]
    assert set(re.findall(r"^\| `(--[a-z-]+)`", page, re.MULTILINE)) == known - {"-h", "--help"}


def test_a_backup_of_another_current_run_is_refused_by_its_index() -> None:
    with pytest.raises(ValueError, match="is not in it"):
        Index(made_at=NOW, generation=1, current="a", runs=(), files=())
    assert issubclass(InvalidInputError, ModelReleaseError)
