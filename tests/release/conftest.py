"""What the tests of the release core share."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_release.paths import ReleasePaths


@pytest.fixture
def paths(tmp_path: Path) -> ReleasePaths:
    """Give an empty installation."""
    return ReleasePaths(tmp_path)
