"""A real API server of Airflow with the page, beside replicas, a Prometheus and an Alertmanager that are played.

``python -m tests.page.server`` runs it for a person to look at: it prints the address, and ends with Ctrl+C.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.page.timeline import History
from model_release.page.traffic import QUESTIONS
from model_release.paths import ReleasePaths
from scripts.services import PROJECT, Service, free_port
from tests.fakes_monitoring import FakeAlertmanager, FakePrometheus, alert, fake_alertmanager, fake_prometheus
from tests.page.history import HOSTILE, Past, write_history
from tests.page.yesterday import write_days_before, write_yesterday

START_SECONDS = 180.0
ROLES = ("viewer", "user", "admin")
_SERVE = """
import argparse, os, sys, warnings
warnings.simplefilter("ignore")
if not os.path.exists(os.environ["AIRFLOW_HOME"] + "/ready"):
    from airflow.cli.commands.dag_command import dag_reserialize
    from airflow.utils.db import initdb
    initdb()
    dag_reserialize(argparse.Namespace(bundle_name=None))
    open(os.environ["AIRFLOW_HOME"] + "/ready", "w").close()
import uvicorn
from airflow.api_fastapi.app import create_app
uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


class ApiServer:
    """Airflow's API server, with a database below ``home`` that knows the project's DAGs; it may go, and come back.

    Attributes:
        url: where it listens.
    """

    def __init__(self, home: Path, more: Mapping[str, str], *, base_url: str | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = _environment(home, base_url or self.url, more)
        self._ready = f"{self.url}{urlsplit(base_url or '').path}/api/v2/version"
        self.service = Service("airflow", [sys.executable, "-c", _SERVE, str(port)], home / "airflow.log", environment)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.service.start()
        wait_for_answer(self.service, self._ready)

    def stop(self) -> None:
        """End it."""
        self.service.stop()


@dataclass
class Site:
    """What runs.

    Attributes:
        url: Airflow's address.
        past: what was released, and may be added to.
        replicas: each can be closed.
    """

    url: str
    past: Past
    prometheus: FakePrometheus
    alertmanager: FakeAlertmanager
    replicas: list[object] = field(default_factory=list)


def lines(prometheus: FakePrometheus) -> None:
    """Let it tell of an hour of traffic with a bad quarter."""

    def at(low: float, high: float, bad: float) -> object:
        began = time.time()

        def value(when: float) -> float:
            wave = low + (high - low) * (0.5 + 0.5 * math.sin(when / 400.0))
            return bad if -2400 < when - began < -1800 else wave

        return value

    for name, (low, high, bad) in {
        "per_second": (180.0, 260.0, 210.0), "p95_seconds": (0.004, 0.006, 0.031), "degraded": (0.0, 0.0004, 0.02),
    }.items():  # fmt: skip
        prometheus.series[QUESTIONS[name].selector] = [({}, at(low, high, bad))]  # type: ignore[list-item]


def alerts(alertmanager: FakeAlertmanager, more: str) -> None:
    """Let two alerts fire, one of them silenced; the other says ``more``."""
    since = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
    first = alert("DataQualityLow", since=since, silenced=True, severity="warning", table="items")
    second = alert("RecommendationSlow", since=since, severity="critical", run_id="x")
    second |= {
        "fingerprint": "fedcba9876543210",
        "annotations": {"summary": f"95 % of answers take 31 ms {more}".strip()},
    }
    alertmanager.alerts = [first, second]
    alertmanager.silences = [
        {
            "id": first["status"]["silencedBy"][0], "createdBy": "ann", "comment": "supplier sends it tomorrow",
            "matchers": [{"name": "alertname", "value": "DataQualityLow", "isRegex": False, "isEqual": True}],
            "startsAt": since, "endsAt": "2099-01-01T00:00:00.000Z", "updatedAt": since, "status": {"state": "active"},
        }
    ]  # fmt: skip


@contextmanager
def site(home: Path, *, hostile: bool = True) -> Iterator[Site]:
    """Run everything below ``home``; ``hostile``: with texts that are no HTML."""
    from model_release_airflow.context import Stores
    from tests.airflow.replica_server import ReplicaServer, connection

    paths = ReleasePaths(home)
    past = write_history(paths, utc_now(), hostile=hostile)
    current = past.registry.read().current
    write_yesterday(paths, utc_now(), current.run_id if current else "none")
    states = History.of(past.ledger.read()).states
    write_days_before(
        paths, utc_now(), lambda at: next((one.current for one in reversed(states) if one.since <= at), None)
    )
    with ExitStack() as stack:
        prometheus, alertmanager = stack.enter_context(fake_prometheus()), stack.enter_context(fake_alertmanager())
        lines(prometheus)
        alerts(alertmanager, HOSTILE if hostile else "")
        stores = Stores(paths, past.registry, past.ledger, RunStore(paths))
        replicas = [ReplicaServer(stores) for _ in range(3)]
        for replica in replicas:
            stack.callback(replica.close)
        more = {
            "PROMETHEUS_URL": prometheus.url,
            "PROMETHEUS_EXTERNAL_URL": "https://prometheus.shop.example/",
            "ALERTMANAGER_URL": alertmanager.url,
            "AIRFLOW_CONN_RECOMMENDATION_API": connection(replicas),
        }
        airflow = ApiServer(home, more)
        stack.callback(airflow.stop)
        airflow.start()
        yield Site(airflow.url, past, prometheus, alertmanager, list(replicas))


def _environment(home: Path, base_url: str, more: Mapping[str, str]) -> dict[str, str]:
    (home / "passwords.json").write_text(json.dumps({role: f"{role}-password" for role in ROLES}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__BASE_URL": base_url,
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "MODEL_RELEASE_HOME": str(home),
        "RECOMMENDATION_PIPELINE_SCHEDULE": "",
        "PYTHONWARNINGS": "ignore",
        **more,
    }


def wait_for_answer(service: Service, url: str) -> None:
    """Wait until ``url`` answers well."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        service.check()
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, timeout=10).is_success:
                return
        time.sleep(0.3)
    raise AssertionError(service.tail())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, site(Path(folder)) as running, contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(f"{running.url}  admin / admin-password\n")
        sys.stdout.flush()
        while True:
            time.sleep(1)
