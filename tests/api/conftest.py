"""One replica process for all tests of a module, and replicas of their own for those that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.api.home import Home
from tests.api.replica import TOKEN, Replica

StartReplica = Callable[..., Replica]


@pytest.fixture(scope="module")
def shared_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(Home(tmp_path_factory.mktemp("home")))
    try:
        yield replica.start_ready()
    finally:
        replica.close()


@pytest.fixture
def replica(shared_replica: Replica) -> Replica:
    """The module's replica, serving ``run-a`` with no run on trial."""
    shared_replica.reload(run_id="run-a")
    assert shared_replica.serves("run-a")
    return shared_replica


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An installation of this test's own, with ``run-a`` current."""
    return Home(tmp_path)


@pytest.fixture
def start(home: Home) -> Iterator[StartReplica]:
    """Start a replica on ``home``; it is ended with the test."""
    started: list[Replica] = []

    def start_one(
        name: str = "replica-1",
        *,
        token: str | None = TOKEN,
        settings: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> Replica:
        replica = Replica(home, name=name, token=token, settings=settings)
        started.append(replica)
        return replica.start_ready() if ready else replica.start()

    yield start_one
    for replica in started:
        replica.close()
