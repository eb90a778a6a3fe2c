"""What all tests share: small, deterministic processes, and an environment that is nobody's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

_LIVE = "tests/live/"
_ALONE = f"{_LIVE}alone/"  # each of these files has an Airflow of its own

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"  # the machine's cores are shared; implicit warns otherwise
_OWN = ("MODEL_RELEASE_HOME", "PIPELINE_CONFIG", "MODEL_RELOAD_TOKEN", "RECOMMENDATION_EVENTS_TOKEN")
for _name in _OWN:
    os.environ.pop(_name, None)  # a test that needs one sets it
settings.register_profile("project", deadline=None)  # a busy machine is no failure
settings.load_profile("project")


@pytest.fixture(scope="module", autouse=True)
def _leaves_the_environment() -> Iterator[None]:
    """What a file's tests and fixtures set for themselves is gone before another file's begin in the same process."""
    yield
    left = [name for name in _OWN if name in os.environ]
    for name in left:
        del os.environ[name]
    assert not left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the tests that share an Airflow, those that have their own, files with slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: (not _shares(item.nodeid), not item.nodeid.startswith(_LIVE), item.path not in slow))


def _shares(nodeid: str) -> bool:
    """Whether a test uses the running Airflow that many tests share."""
    return nodeid.startswith(_LIVE) and not nodeid.startswith(_ALONE)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """Keep a file's tests in one process, and all that share the running Airflow in one."""

    def _split_scope(self, nodeid: str) -> str:
        return "live" if _shares(nodeid) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Say which tests go together."""
    return _Scheduling(config, log)
