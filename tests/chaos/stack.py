"""Airflow in separate processes and several replicas behind proxies; whatever is killed is started again, as systemd would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from model_release.paths import ReleasePaths
from pipeline.config import load_config
from pipeline.data_quality_v2 import check_data
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from scripts.local_stack import AIRFLOW, API_WORKERS, LocalStack
from scripts.services import PROJECT, Service, free_port
from tests.chaos.proxy import FaultProxy
from tests.live.shop import LAST_DAY, write_shop

RESTART_SECONDS = 1.0
COMPONENTS = {"airflow": "api-server", "scheduler": "scheduler", "triggerer": "triggerer", "processor": "dag-processor"}
_FAST = {  # what takes minutes by default, so that a release with a dozen faults ends in minutes
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}
POLICY = """
schema_version: 1
name: chaos
on_no_baseline: pass
budgets: {error_minutes: 1, inconclusive_minutes: 1}
checks:
  - {name: ndcg-floor, kind: absolute, metric: ndcg_at_10, at_least: 0.02, minimum_users: 50}
online:
  budgets: {error_minutes: 2, inconclusive_minutes: 2}
  minimum_minutes: 0.1
  replicas: up{job="api"}
  maximum_age_seconds: 10
  step_seconds: 1
  checks:
    - {name: nothing-degraded, kind: query, query: 'sum(recommendation_degraded_total{variant="candidate"}) or vector(0)', at_most: 0}
"""


@dataclass
class ChaosStack(LocalStack):
    """Three replicas, each behind a proxy, and Airflow's four components.

    Attributes:
        count: how many replicas.
        ports: of the replicas themselves; Airflow knows the proxies' only.
        faults: the proxies.
    """

    count: int = 3
    ports: list[int] = field(default_factory=list)
    faults: list[FaultProxy] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose ports, and put the proxies up."""
        super().__post_init__()
        self.ports = [self.api_port, *(free_port() for _ in range(self.count - 1))]
        self.faults = [FaultProxy(port) for port in self.ports]
        replicas = [f"http://127.0.0.1:{proxy.port}" for proxy in self.faults]
        connection = {"conn_type": "recommendation_api", "password": self.reload_token, "extra": {"replicas": replicas}}
        dags = self.home / "dags"
        dags.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("chaos_dag.py"), dags)
        (self.home / "kills").mkdir(exist_ok=True)
        (self.home / "release_policy.yaml").write_text(POLICY)
        own = {
            **_FAST,
            "AIRFLOW_CONN_RECOMMENDATION_API": json.dumps(connection),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        }
        self.extra = {**own, **self.extra}
        self._resting: set[str] = set()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_up, daemon=True)

    def start_api(self) -> None:
        """Start the replicas."""
        for number, port in enumerate(self.ports):
            command = [sys.executable, "-m", "recommendation_api", "--host", "127.0.0.1", "--port", str(port)]
            name = replica_name(number)
            self.start_service(name, [*command, "--workers", str(API_WORKERS)], self.home / "logs" / f"{name}.log")

    def start_airflow(self) -> None:
        """Start the components, the API server under the name ``airflow``."""
        settings = self.home / "airflow" / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("kills.py"), settings)
        self.prepare_airflow()
        self.airflow("db", "migrate")
        for name in COMPONENTS:
            self.start_component(name)
        if not self._keeper.is_alive():
            self._keeper.start()

    def start_component(self, name: str) -> None:
        """Start one of :data:`COMPONENTS`."""
        self.start_service(name, [AIRFLOW, COMPONENTS[name]], self.home / "logs" / f"{name}.log")

    def kill(self, name: str) -> None:
        """SIGKILL a service with all its processes, as the end of its control group would be; it is started again."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid(name), signal.SIGKILL)

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP a service with all its processes, and go on after ``seconds``."""
        group = self.pid(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)
            time.sleep(seconds)
            os.killpg(group, signal.SIGCONT)

    def rest_for_good(self, names: list[str]) -> None:
        """Kill services, and do not start them again."""
        self._resting |= set(names)
        for name in names:
            self.kill(name)

    def pid(self, name: str) -> int:
        """Return the process, and so the process group, of a service."""
        process = self.services[name].process
        assert process is not None
        return process.pid

    def stop(self) -> None:
        """End everything."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        super().stop()
        for proxy in self.faults:
            proxy.close()

    def _keep_up(self) -> None:
        while not self._closing.wait(0.2):
            for name, service in list(self.services.items()):
                if name not in self._resting and _is_dead(service):
                    time.sleep(RESTART_SECONDS)
                    if not self._closing.is_set():
                        service.stop(number=signal.SIGKILL)
                        service.start()

    def reports(self) -> dict[str, dict[str, Any] | None]:
        """Return what each replica says it serves, asked directly; None: it does not answer."""
        return {replica_name(number): _models(port) for number, port in enumerate(self.ports)}

    def train(self, algorithms: tuple[str, ...]) -> list[str]:
        """Make one run of each algorithm, evaluated and ready to be released."""
        paths = ReleasePaths(self.home)
        config = load_config(write_shop(self.home / "shop", LAST_DAY))
        check_data(config, paths, None)
        made = [train(config, paths, None, algorithm).run_id for algorithm in algorithms]
        for run_id in made:
            evaluate(config, paths, run_id)
        return made

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()


def replica_name(number: int) -> str:
    """Return the name of a replica's service; the stack waits for the first."""
    return "recommendation API" if number == 0 else f"replica {number}"


def _is_dead(service: Service) -> bool:
    return service.process is None or service.process.poll() is not None


def _models(port: int) -> dict[str, Any] | None:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/models", timeout=2, trust_env=False)
        return dict(answer.json()) if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


__all__ = ["COMPONENTS", "PROJECT", "ChaosStack", "replica_name"]
