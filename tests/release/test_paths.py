"""Where everything lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_release.errors import InvalidRunIdError
from model_release.paths import ReleasePaths


def test_the_environment_names_the_root(tmp_path: Path) -> None:
    """``MODEL_RELEASE_HOME`` is the root of everything."""
    paths = ReleasePaths.from_environment({"MODEL_RELEASE_HOME": str(tmp_path)})
    assert paths.root == tmp_path.resolve()
    assert paths.registry == tmp_path / "models" / "model_registry.json"
    assert paths.decisions == tmp_path / "data" / "evaluation" / "decisions"


@pytest.mark.parametrize("environment", [{}, {"MODEL_RELEASE_HOME": ""}])
def test_without_it_the_root_is_the_current_folder(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset or empty variable means the current folder."""
    monkeypatch.chdir(tmp_path)
    assert ReleasePaths.from_environment(environment).root == tmp_path.resolve()


def test_a_relative_root_does_not_move_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is absolute from the start, wherever the process goes later."""
    monkeypatch.chdir(tmp_path)
    paths = ReleasePaths.from_environment({"MODEL_RELEASE_HOME": "here"})
    monkeypatch.chdir("/")
    assert paths.root == tmp_path.resolve() / "here"


def test_an_evaluation_folder_needs_a_run_id(tmp_path: Path) -> None:
    """A path-like name never becomes a folder."""
    with pytest.raises(InvalidRunIdError):
        ReleasePaths(tmp_path).evaluation_of("../models")
