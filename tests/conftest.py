"""What all tests share: small, deterministic processes, and an environment that is nobody's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"  # the machine's cores are shared; implicit warns otherwise
for _name in ("MODEL_RELEASE_HOME", "PIPELINE_CONFIG", "MODEL_RELOAD_TOKEN"):
    os.environ.pop(_name, None)  # a test that needs one sets it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and all that share the running Airflow in one."""
    for item in items:
        live = item.path.is_relative_to(_TESTS / "live")
        item.add_marker(pytest.mark.xdist_group("live" if live else str(item.path.relative_to(_TESTS))))
