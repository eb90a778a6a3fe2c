"""A real Airflow (scheduler, triggerer, API server, DAG processor) and a real recommendation API, once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes_wecom import FakeWeCom, wecom
from tests.live.everything import installed
from tests.live.installation import PIPELINE, Installation


@pytest.fixture(scope="session")
def robot() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, robot: FakeWeCom) -> Iterator[Installation]:
    """Everything is up, the DAGs are known and paused, nothing is released yet."""
    with installed(tmp_path_factory.mktemp("live"), robot) as made:
        yield made


@pytest.fixture(scope="module")
def on_sale(installation: Installation) -> Installation:
    """Some run is current, trained before the last days of the log, and nothing else is going on."""
    installation.unpause(PIPELINE)
    installation.wait_until("some run is current", lambda: installation.current is not None)
    runs = installation.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["dag_runs"]
    for run in runs:
        installation.ended(PIPELINE, run["dag_run_id"])
    installation.sell_on()
    return installation
