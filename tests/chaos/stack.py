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
from typing import Any

import httpx

from model_release.paths import ReleasePaths
from pipeline.config import load_config
from pipeline.data_quality_v2 import check_data
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from scripts.local_stack import API_WORKERS, COMPONENTS, LocalStack
from scripts.monitoring_programs import tool
from scripts.services import Service, StackError, free_port
from tests import monitoring
from tests.chaos.proxy import FaultProxy
from tests.executors.servers import Servers
from tests.live.shop import LAST_DAY, write_shop

RESTART_SECONDS = 1.0
PROMETHEUS = "prometheus"
STEPS = "shadow:0.2:60 canary:0.1:60 canary:0.5:60"
_FAST = {  # what takes minutes by default, so that a release with a dozen faults ends in minutes
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
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
  budgets: {error_minutes: 1.5, inconclusive_minutes: INCONCLUSIVE_MINUTES}
  minimum_minutes: MINIMUM_MINUTES
  replicas: up{job="api"}
  maximum_age_seconds: 10
  step_seconds: 1
  checks:
    - name: nothing-degraded
      kind: query
      query: sum(recommendation_degraded_total{variant="candidate"}) or vector(0)
      at_most: 0
"""


def policy(*, minimum_minutes: float = 0.0) -> str:
    """Return the policy; a trial passes after ``minimum_minutes`` if nothing is wrong with it."""
    text = POLICY.replace("INCONCLUSIVE_MINUTES", str(minimum_minutes + 2))
    return text.replace("MINIMUM_MINUTES", str(minimum_minutes))


@dataclass
class ChaosStack(LocalStack):
    """Replicas, each behind a proxy, Airflow's four components, and a Prometheus that watches the replicas.

    Attributes:
        count: how many replicas.
        steps: of a release.
        ports: of the replicas themselves; Airflow knows the proxies' only.
        faults: the proxies.
        servers: what Airflow runs on; None: SQLite, and the scheduler starts the tasks.
    """

    count: int = 3
    servers: Servers | None = None
    steps: str = STEPS
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
        self.kills = self.home / "kills"
        self.kills.mkdir(exist_ok=True)
        self.prometheus_port = free_port()
        (self.home / "release_policy.yaml").write_text(policy())
        (self.home / "waiting_policy.yaml").write_text(policy(minimum_minutes=30))
        own = {
            **_FAST,
            "AIRFLOW_CONN_RECOMMENDATION_API": json.dumps(connection),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "PROMETHEUS_URL": f"http://127.0.0.1:{self.prometheus_port}",
            "CHAOS_STEPS": self.steps,
            **(self.servers.environment if self.servers else {}),
        }
        self.extra = {**own, **self.extra}
        self._clients = [
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2, trust_env=False) for port in self.ports
        ]
        self._resting: set[str] = set()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_up, daemon=True)

    def start_api(self) -> None:
        """Start the replicas, and what watches them."""
        for number, port in enumerate(self.ports):
            name = replica_name(number)
            command = [sys.executable, "-m", "recommendation_api", "--host", "127.0.0.1", "--port", str(port)]
            self.start_service(name, [*command, "--workers", str(API_WORKERS)], self.home / "logs" / f"{name}.log")
        program = tool(PROMETHEUS)
        if program is None:
            raise StackError("prometheus not found: bash scripts/debian_tools.sh fetches it")
        arguments = monitoring.prometheus_arguments(
            self.home / PROMETHEUS, [f"127.0.0.1:{port}" for port in self.ports]
        )
        command = [str(program), *arguments, f"--web.listen-address=127.0.0.1:{self.prometheus_port}"]
        self.start_service(PROMETHEUS, command, self.home / "logs" / "prometheus.log")

    def start_airflow(self) -> None:
        """Start the components, the API server under the name ``airflow``."""
        settings = self.home / "airflow" / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("kills.py"), settings)
        if self.servers is None:
            self.start_components()
        else:
            self.servers.start(self)
        self._keeper.start()

    def kill(self, name: str) -> None:
        """SIGKILL a service with all its processes, as the end of its control group would be; it is started again.

        Raises:
            LookupError: it is down already.
        """
        _signal(family(self.pid(name)), signal.SIGKILL)

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP a service with all its processes now, and let it go on after ``seconds``."""
        pids = family(self.pid(name))
        _signal(pids, signal.SIGSTOP)
        going_on = threading.Timer(seconds, _signal, (pids, signal.SIGCONT))
        going_on.daemon = True
        going_on.start()

    def kill_airflow(self) -> None:
        """SIGKILL all of Airflow; nothing of it is started again before :meth:`revive_airflow`."""
        self._resting |= set(COMPONENTS)
        for name in COMPONENTS:
            self.kill(name)

    def revive_airflow(self) -> None:
        """Let what keeps everything up start Airflow again, and wait for it."""
        self._resting -= set(COMPONENTS)
        while any(_is_dead(self.services[name]) for name in COMPONENTS):
            time.sleep(0.1)
        self.wait_for_airflow()

    def pid(self, name: str) -> int:
        """Return the process, and so the process group, of a service.

        Raises:
            LookupError: it is down.
        """
        service = self.services[name]
        if service.process is None or _is_dead(service):
            raise LookupError(f"{name} is down")
        return service.process.pid

    def stop(self) -> None:
        """End everything, and wait for nobody: what is worth keeping is in files, and those are safe against SIGKILL."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for name in self.services:
            with contextlib.suppress(LookupError):
                self.kill(name)
        super().stop()
        for client in self._clients:
            client.close()
        for proxy in self.faults:
            proxy.close()

    def _keep_up(self) -> None:
        while not self._closing.wait(0.2):
            dead = [service for service in list(self.services.values()) if _is_dead(service)]
            if not dead or self._closing.wait(RESTART_SECONDS):
                continue
            for service in dead:
                if service.name not in self._resting:
                    service.stop(number=signal.SIGKILL)
                    service.start()

    @property
    def disturbed(self) -> int:
        """How many pieces and connections the proxies did something to so far."""
        return sum(proxy.disturbed for proxy in self.faults)

    def reports(self) -> dict[str, dict[str, Any] | None]:
        """Return what each replica says it serves, asked directly; None: it does not answer."""
        return {replica_name(number): _models(client) for number, client in enumerate(self._clients)}

    def train(self, algorithms: tuple[str, ...]) -> list[str]:
        """Make one run of each algorithm, evaluated and ready to be released."""
        paths = ReleasePaths(self.home)
        config = load_config(write_shop(self.home / "shop", LAST_DAY))
        check_data(config, paths, None)
        made = [train(config, paths, None, algorithm).run_id for algorithm in algorithms]
        for run_id in made:
            evaluate(config, paths, run_id)
        return made


def replica_name(number: int) -> str:
    """Return the name of a replica's service; the stack waits for the first."""
    return "recommendation API" if number == 0 else f"replica {number}"


def _is_dead(service: Service) -> bool:
    return service.process is None or service.process.poll() is not None


def _models(client: httpx.Client) -> dict[str, Any] | None:
    try:
        answer = client.get("/models")
        return dict(answer.json()) if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first, whatever groups they are in: what a control group would hold."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:  # it grows meanwhile
        found += children.get(one, [])
    return found


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
