"""The live tests' installation, on the servers that a test file names in ``EXECUTOR``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import monitoring
from tests.executors.servers import Servers
from tests.fakes_wecom import FakeWeCom, wecom
from tests.live.everything import installed
from tests.live.installation import Installation


@pytest.fixture(scope="module")
def robot() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    monitoring.need("postgres", "initdb", "redis-server")
    made = Servers(tmp_path_factory.mktemp("servers"), request.module.EXECUTOR)
    yield made
    made.postgres.remove()


@pytest.fixture(scope="module")
def installation(
    servers: Servers, robot: FakeWeCom, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Everything is up, the DAGs are known and paused, nothing is released yet."""
    with installed(tmp_path_factory.mktemp("executor"), robot, servers) as made:
        yield made
