"""Files that are damaged, unreadable or gone, each in every way: its part says so by the file's name, and every other part is shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model_release.adapters.file_registry import FileRegistry
from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from tests.page.conftest import Login
from tests.page.history import write_history
from tests.page.yesterday import write_yesterday


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00\x80\n" * 9),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "another kind": lambda path: path.write_bytes(b"null\n"),
    "too deep": lambda path: path.write_bytes(b"[" * 100_000 + b"\n"),
    "a folder": _folder,
    "a loop": _loop,
    "gone": lambda path: path.unlink(),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ReleasePaths:
    paths = ReleasePaths(tmp_path_factory.mktemp("whole"))
    current = write_history(paths, utc_now()).registry.read().current
    write_yesterday(paths, utc_now(), current.run_id if current else "none")
    return paths


@pytest.fixture
def copies(shop: ReleasePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make a whole copy of the installation, and let the page look at it."""

    def copy(name: str) -> Path:
        home = tmp_path / name
        shutil.copytree(shop.root, home)
        monkeypatch.setenv("MODEL_RELEASE_HOME", str(home))
        return home

    return copy


@pytest.fixture
def admin(login: Login) -> TestClient:
    return login("admin")


def told(admin: TestClient, page: str, shop: ReleasePaths) -> dict[str, str]:
    """Return the state of each part that reads files, and what it says."""
    registry = FileRegistry(shop).read()
    assert registry.candidate is not None
    trial = registry.candidate.release_id
    found: dict[str, str] = {}
    for path in ("desired", "runs", "timeline", f"releases/{trial}", "health"):
        answer = admin.get(f"{page}/api/{path}")
        assert answer.status_code == 200, (path, answer.text)
        body = answer.json()
        name = path.partition("/")[0]
        if name == "health":
            for part in ("quality", "reconciliation"):
                found[part] = f"{body[part]['state']}: {body[part].get('why', '')}"
        else:
            found[name] = f"{body['state']}: {body.get('why', '')}"
        if body.get("data") and name == "releases":
            judged = body["data"]["judgements"]["offline"]
            found["judgement"] = f"{judged['state']}: {judged.get('why', '')}"
    return found


def lacking(found: dict[str, str]) -> set[str]:
    return {name for name, said in found.items() if not said.startswith("ok")}


FILES = {
    "models/model_registry.json": {"desired", "runs"},
    "models/release_ledger.jsonl": {"timeline", "releases"},
    "data/evaluation/data_quality_metrics.prom": {"quality"},
    "data/evaluation/reconciliation_*.json": {"reconciliation"},
    "data/evaluation/decisions/offline/TRIAL": {"judgement"},
}
# The ledger is read line by line: one that ends earlier is a ledger, and the registry's file tells the rest.
WHOLE = {("models/release_ledger.jsonl", "cut")}


@pytest.mark.parametrize("file", FILES)
def test_each_damage_of_a_file_is_told_by_its_part_alone(
    admin: TestClient, page: str, shop: ReleasePaths, copies: Callable[[str], Path], file: str
) -> None:
    whole = copies("whole")
    assert lacking(told(admin, page, shop)) == set()
    assert whole.is_dir()
    for how, do in DAMAGE.items():
        home = copies(how)
        (path,) = home.glob(file) if not file.endswith("TRIAL") else [_decision_of_trial(home)]
        do(path)
        if (file, how) in WHOLE:
            continue
        found = told(admin, page, shop)
        assert lacking(found) == FILES[file], how
        gone = how == "gone" and not file.startswith("models")
        for part in FILES[file]:
            assert found[part].startswith("missing" if gone else "broken"), (how, found[part])
            assert gone or path.name in found[part], (how, found[part])


def _decision_of_trial(home: Path) -> Path:
    """Return the decision on the release that began last."""
    return max((home / "data/evaluation/decisions/offline").iterdir(), key=lambda path: path.name)


@pytest.mark.parametrize("how", ["a folder", "a loop", "empty", "too deep"])
@pytest.mark.parametrize("file", ["models/model_registry.json", "models/release_ledger.jsonl"])
def test_no_rollback_is_planned_on_what_can_not_be_read(
    admin: TestClient, page: str, copies: Callable[[str], Path], file: str, how: str
) -> None:
    """The page says why instead, in words."""
    path = copies(how) / file
    DAMAGE[how](path)
    answer = admin.get(f"{page}/api/plan", params={"action": "rollback"})
    assert answer.status_code == 503
    assert path.name in answer.json()["detail"]
