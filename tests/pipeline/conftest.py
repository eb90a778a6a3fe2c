"""What the tests of the offline pipeline share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_release.paths import ReleasePaths
from pipeline import train_models
from tests.pipeline import logs


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the commit the same while a test runs, and take away what a command line adds to the log."""
    monkeypatch.setattr(train_models, "_git_commit", lambda: "c" * 40)
    monkeypatch.delenv("RELEASE_POLICY", raising=False)
    log = logging.getLogger("pipeline")
    before = (list(log.handlers), log.level, log.propagate)
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def paths(tmp_path: Path) -> ReleasePaths:
    """Give an empty installation."""
    return ReleasePaths(tmp_path / "home")


@pytest.fixture
def grocery(tmp_path: Path) -> logs.Source:
    """Give a clean log of groceries with its items, as Parquet files, and a configuration of it."""
    return logs.groceries(tmp_path / "data")
