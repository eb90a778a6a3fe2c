"""Airflow without a database for the parts; see ``stack.py`` for the whole of it."""

# isort: off
from __future__ import annotations

import tests.airflow_home  # noqa: F401  (before the first import of airflow)

# isort: on
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_release import registry as transitions
from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from model_release_airflow import look as looking
from model_release_airflow import shared
from model_release_airflow.context import Stores
from tests.airflow.replica_server import ReplicaServer, connection
from tests.airflow.trials import Answers
from tests.fakes_wecom import FakeWeCom, wecom
from tests.runs import publish_run


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasePaths:
    """An installation of its own."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(tmp_path))
    return ReleasePaths.from_environment()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger of a test may be short-lived: there is no scheduler that it could race with."""
    monkeypatch.setattr(shared, "MINIMUM_LIFE_SECONDS", 0.0)


@pytest.fixture
def stores(paths: ReleasePaths) -> Stores:
    """Its registry, ledger and runs: ``old`` is current, ``new`` is registered."""
    made = Stores.from_environment()
    for number, run_id in enumerate(("old", "new")):
        publish_run(paths, run_id, seed=number)
        digest = RunStore(paths).manifest_sha256(run_id)
        made.registry.update(
            lambda state, run_id=run_id, digest=digest: transitions.register(  # type: ignore[misc]
                state, run_id=run_id, manifest_sha256=digest, release_id="before", at=utc_now()
            )
        )
    made.registry.update(
        lambda state: transitions.promote(state, run_id="old", release_id="before", at=utc_now(), cause="person")
    )
    return made


@pytest.fixture
def fleet(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReplicaServer]]:
    """Two replicas on loopback that serve what the registry desires, and Airflow's connection to them."""
    servers = [ReplicaServer(stores) for _ in range(2)]
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", connection(servers))
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Prometheus: healthy, and with requests enough."""
    made = Answers()
    monkeypatch.setattr(looking, "collect", made.collect)
    return made


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWeCom]:
    """A WeCom that Airflow's connection leads to."""
    with wecom() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", fake.connection())
        yield fake
