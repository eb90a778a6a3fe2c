"""The page as Airflow's API server mounts it, with Airflow's real users, tokens and database; no process is started."""

# isort: off
from __future__ import annotations

import tests.airflow_home  # noqa: F401  (before the first import of airflow)

# isort: on
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.api_fastapi.app import create_app
from airflow.utils.db import initdb
from fastapi import FastAPI
from fastapi.testclient import TestClient

from model_release.paths import ReleasePaths
from model_release_airflow.page.mount import PREFIX
from tests.monitoring import need
from tests.page.real import RealSite, real_site

BASE = "http://airflow.example:8080"


@pytest.fixture(scope="session")
def airflow_app() -> FastAPI:
    """Airflow's API server with this project's plugin, on an empty database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own, nothing that a test can act on
        initdb()
        return create_app(apps="core")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasePaths:
    """An installation of its own, with nothing in it."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(tmp_path))
    for name in ("PROMETHEUS_URL", "ALERTMANAGER_URL", "AIRFLOW_CONN_RECOMMENDATION_API"):
        monkeypatch.delenv(name, raising=False)
    return ReleasePaths.from_environment()


@pytest.fixture
def anybody(airflow_app: FastAPI, paths: ReleasePaths) -> Iterator[TestClient]:  # noqa: ARG001
    """Somebody who is not logged in."""
    with TestClient(airflow_app, base_url=BASE) as client:
        client.headers["accept"] = "application/json"
        yield client


class Login:
    """Makes clients that are logged in."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def __call__(self, role: str, *, cookie: bool = False) -> TestClient:
        """Return a client of a role, with a token as programs have it, or with the cookie of the UI."""
        client = TestClient(self._app, base_url=BASE, headers={"accept": "application/json"})
        login = {"username": role, "password": f"{role}-password"}
        answer = client.post("/auth/token", json=login)
        assert answer.status_code == 201, answer.text
        token = answer.json()["access_token"]
        client.cookies.clear()
        if cookie:
            client.cookies.set("_token", token)
        else:
            client.headers["authorization"] = f"Bearer {token}"
        return client


@pytest.fixture
def login(airflow_app: FastAPI, paths: ReleasePaths) -> Login:  # noqa: ARG001
    """Log in as a role."""
    return Login(airflow_app)


@pytest.fixture
def page() -> str:
    """Where the page is."""
    return PREFIX


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    """Replicas, Prometheus, Alertmanager and a proxy, all real; tests mend what they break."""
    need("prometheus", "alertmanager", "haproxy")
    with real_site(tmp_path_factory.mktemp("real")) as running:
        yield running
