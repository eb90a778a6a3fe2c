"""Everything that the page asks as a real process, and HAProxy in front of Airflow, at a path and with another host name inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from model_release.contract import ModelsReport, utc_now
from model_release.paths import ReleasePaths
from scripts.monitoring_programs import Server, start_tool, tool
from scripts.services import Service, free_port
from tests.api.replica import wait_until
from tests.monitoring import alertmanager, fire, prometheus_arguments
from tests.page.history import Past, write_history
from tests.page.server import ApiServer, wait_for_answer
from tests.page.yesterday import write_yesterday

HOST, BASE = "airflow.example", "/teams/shop"
BROWSER_OPTION = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"  # a name that no browser takes for this very machine
SECRETS = ("reload-secret-1", "prometheus-secret-2", "alertmanager-secret-3")
WORKERS = 2
# Nothing but what lies below the path gets to Airflow, as where other programs share the address.
_PROXY = """
global
    log stdout format raw local0
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{secure_port} ssl crt {certificate}
    http-request deny deny_status 404 unless {{ path_beg {base}/ }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header Host inside.example:8080
    default_backend airflow
backend airflow
    server one {airflow}
"""


class Replica:
    """One replica of the recommendation API, with two workers."""

    def __init__(self, home: Path, name: str) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "recommendation_api", "--host", "127.0.0.1", "--port", str(port)]
        environment = {
            **os.environ, "MODEL_RELEASE_HOME": str(home), "MODEL_RELOAD_TOKEN": SECRETS[0],
            "RECOMMENDATION_API_WORKERS": str(WORKERS), "RECOMMENDATION_API_REPLICA": name,
            "RECOMMENDATION_API_DRAIN_SECONDS": "0",
        }  # fmt: skip
        self.service = Service(name, [*command, "--workers", str(WORKERS)], home / f"{name}.log", environment)

    def start(self) -> None:
        """Start it, and wait until all workers serve."""
        self.service.start()
        wait_until(f"{self.service.name} serves; see {self.service.log}", lambda: len(self.workers()) == WORKERS, 120)

    def workers(self) -> list[int]:
        """Return the process ids of those that serve a run."""
        try:
            answer = httpx.get(f"http://{self.address}/models", trust_env=False, timeout=10)
        except httpx.HTTPError:
            return []
        report = ModelsReport.model_validate_json(answer.content)
        return [worker.pid for worker in report.workers if worker.current is not None]

    def kill(self) -> None:
        """End all its processes as a crash of the machine would."""
        self.service.stop(number=signal.SIGKILL)


@dataclass
class RealSite:
    """What runs.

    Attributes:
        url: where people find Airflow.
        secure_url: the same by HTTPS; the proxy's certificate is its own.
    """

    url: str
    secure_url: str
    past: Past
    airflow: ApiServer
    replicas: list[Replica]
    prometheus: Server
    alertmanager: Server
    _restart: Any

    def token(self, role: str) -> str:
        """Log in as a program does."""
        login = {"username": role, "password": f"{role}-password"}
        url = f"{self.airflow.url}{BASE}/auth/token"
        return str(httpx.post(url, json=login, trust_env=False, timeout=60).json()["access_token"])

    def prometheus_again(self) -> None:
        """Start Prometheus where it was."""
        self.prometheus = self._restart()


@contextmanager
def real_site(home: Path) -> Iterator[RealSite]:
    """Run everything below ``home``."""
    past = write_history(ReleasePaths(home), utc_now(), hostile=False)
    current = past.registry.read().current
    write_yesterday(past.paths, utc_now(), current.run_id if current else "none")
    with ExitStack() as stack:
        replicas = [Replica(home, f"replica-{number}") for number in (1, 2)]
        for replica in replicas:
            stack.callback(replica.service.stop)
            replica.service.start()
        arguments = prometheus_arguments(home / "prometheus", [replica.address for replica in replicas])
        port = free_port()

        def prometheus() -> Server:
            return stack.enter_context(start_tool("prometheus", arguments, home / "prometheus.log", port=port))

        alerts = stack.enter_context(alertmanager(home / "alertmanager"))
        fire(alerts, alertname="RecommendationSlow", severity="critical", service="recommendations")
        port_outside, secure_port = free_port(), free_port()
        url = f"http://{HOST}:{port_outside}{BASE}"
        known = {"replicas": [f"http://{replica.address}" for replica in replicas]}
        airflow = ApiServer(
            home,
            {
                "PROMETHEUS_URL": f"http://127.0.0.1:{port}", "PROMETHEUS_TOKEN": SECRETS[1],
                "ALERTMANAGER_URL": alerts.url, "ALERTMANAGER_TOKEN": SECRETS[2],
                "AIRFLOW_CONN_RECOMMENDATION_API": json.dumps(
                    {"conn_type": "recommendation_api", "password": SECRETS[0], "extra": known}
                ),
            },
            base_url=url,
        )  # fmt: skip
        stack.callback(airflow.stop)
        first = prometheus()
        airflow.start()
        _proxy(stack, home, airflow, port_outside, secure_port)
        for replica in replicas:
            wait_until(f"{replica.service.name} serves", lambda one=replica: len(one.workers()) == WORKERS, 120)  # type: ignore[misc]
        yield RealSite(url, f"https://{HOST}:{secure_port}{BASE}", past, airflow, replicas, first, alerts, prometheus)


def _proxy(stack: ExitStack, home: Path, airflow: ApiServer, port: int, secure_port: int) -> None:
    certificate = home / "certificate.pem"
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(certificate), "-out", str(home / "public.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-days", "2", "-subj", f"/CN={HOST}"], check=True, capture_output=True
    )
    certificate.write_text(certificate.read_text() + (home / "public.pem").read_text())
    config = home / "haproxy.cfg"
    inside = airflow.url.removeprefix("http://")
    config.write_text(
        _PROXY.format(port=port, secure_port=secure_port, certificate=certificate, base=BASE, airflow=inside)
    )
    service = Service("haproxy", [str(tool("haproxy")), "-f", str(config)], home / "haproxy.log", os.environ)
    service.start()
    stack.callback(service.stop)
    wait_for_answer(service, f"http://127.0.0.1:{port}{BASE}/api/v2/version")
