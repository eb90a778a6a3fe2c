"""A real API server of Airflow with the page, beside replicas, a Prometheus and an Alertmanager that are played.

``python -m tests.page.server`` runs it for a person to look at: it prints the address, and ends with Ctrl+C.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

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
import sys, warnings
warnings.simplefilter("ignore")
from airflow.utils.db import initdb
initdb()
import uvicorn
from airflow.api_fastapi.app import create_app
uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


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
        os.environ["MODEL_RELEASE_HOME"] = str(home)
        replicas = [ReplicaServer(Stores.from_environment()) for _ in range(3)]
        for replica in replicas:
            stack.callback(replica.close)
        port = free_port()
        service = Service("airflow", [sys.executable, "-c", _SERVE, str(port)], home / "airflow.log", _environment(home, port, {
            "PROMETHEUS_URL": prometheus.url,
            "PROMETHEUS_EXTERNAL_URL": "https://prometheus.shop.example/",
            "ALERTMANAGER_URL": alertmanager.url,
            "AIRFLOW_CONN_RECOMMENDATION_API": connection(replicas),
        }))  # fmt: skip
        service.start()
        stack.callback(service.stop)
        url = f"http://127.0.0.1:{port}"
        _wait(service, f"{url}/api/v2/version")
        subprocess.run(
            [str(Path(sys.executable).parent / "airflow"), "dags", "reserialize"],
            env=service.environment, check=True, capture_output=True, cwd=PROJECT, timeout=180,
        )  # fmt: skip
        yield Site(url, past, prometheus, alertmanager, list(replicas))


def _environment(home: Path, port: int, more: dict[str, str]) -> dict[str, str]:
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
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "MODEL_RELEASE_HOME": str(home),
        "RECOMMENDATION_PIPELINE_SCHEDULE": "",
        "PYTHONWARNINGS": "ignore",
        **more,
    }


def _wait(service: Service, url: str) -> None:
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
