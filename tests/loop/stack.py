"""Everything that the closed loop consists of, real and on loopback; only WeCom is played."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from model_release.paths import ReleasePaths
from pipeline.config import load_config
from pipeline.data_quality_v2 import check_data
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from scripts.local_stack import API_WORKERS, LocalStack
from scripts.monitoring_stack import MonitoringStack, statsd_settings
from scripts.services import free_port
from tests.fakes_wecom import FakeWeCom, wecom
from tests.gate_live.faulty_api import FILE_VARIABLE, Fault
from tests.live.installation import Installation
from tests.live.shop import LAST_DAY, POLICY, write_shop

REPLICAS = 2
DAGS = (
    "recommendation_pipeline",
    "recommendation_rollback",
    "recommendation_latch",
    "recommendation_act_on_alerts",
)


@dataclass
class LoopStack(LocalStack):
    """Airflow, and two replicas whose models may be told to fail.

    Attributes:
        more_ports: of the replicas after the first.
    """

    more_ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(REPLICAS - 1)])

    def __post_init__(self) -> None:
        """Tell Airflow of every replica."""
        super().__post_init__()
        replicas = [f"http://{address}" for address in self.replicas]
        connection = {"conn_type": "recommendation_api", "password": self.reload_token, "extra": {"replicas": replicas}}
        self.extra = {
            **self.extra,
            "AIRFLOW_CONN_RECOMMENDATION_API": json.dumps(connection),
            FILE_VARIABLE: str(self.faults),
            "RECOMMENDATION_API_LATE_SECONDS": "10",  # a busy machine is not what is looked at
        }

    @property
    def replicas(self) -> list[str]:
        """Addresses of the replicas, ``host:port``."""
        return [f"127.0.0.1:{port}" for port in (self.api_port, *self.more_ports)]

    @property
    def faults(self) -> Path:
        """File that says which run fails how, read when a run is loaded."""
        return self.home / "model_faults.json"

    def break_run(self, run_id: str, fault: Fault) -> None:
        """Let a run fail for users once it is loaded; the golden requests are answered well, so that it is released."""
        self.faults.write_text(json.dumps({run_id: asdict(fault)}), encoding="utf-8")

    def start_api(self) -> None:
        """Start the replicas."""
        for number, port in enumerate((self.api_port, *self.more_ports)):
            name = "recommendation API" if number == 0 else f"replica {number + 1}"
            command = [sys.executable, "-m", "tests.gate_live.faulty_api", "--host", "127.0.0.1", "--port", str(port)]
            log = self.home / "logs" / f"{name}.log"
            self.start_service(name, [*command, "--workers", str(API_WORKERS)], log)


@dataclass(frozen=True)
class Loop:
    """The running loop."""

    shop: Installation
    stack: LoopStack
    watch: MonitoringStack
    robot: FakeWeCom
    bridge_key: str

    @property
    def told_by_alerts(self) -> list[str]:
        """What the bridge sent, oldest first."""
        return [one[one["msgtype"]]["content"] for one in self.robot.by_key.get(self.bridge_key, [])]

    @property
    def told_by_releases(self) -> list[str]:
        """What Airflow's notifiers sent, oldest first."""
        return [one[one["msgtype"]]["content"] for one in self.robot.by_key.get(self.robot.key, [])]

    def prepare(self, as_of: str, algorithm: str) -> str:
        """Train and evaluate a run outside Airflow, on what is before a day; return its id."""
        config, paths = load_config(self.stack.home / "shop" / "pipeline.yaml"), ReleasePaths(self.stack.home)
        cutoff = dt.datetime.combine(dt.date.fromisoformat(as_of), dt.time(), dt.UTC)
        check_data(config, paths, cutoff)
        run_id = train(config, paths, cutoff, algorithm).run_id
        evaluate(config, paths, run_id)
        return run_id


@contextmanager
def loop(home: Path) -> Iterator[Loop]:
    """Give the loop with everything up and nothing released.

    Raises:
        StackError: a program is missing, or did not come up.
    """
    with wecom() as robot:
        bridge_key = "7a1d93c4-alerts-key"
        robot.more_keys = (bridge_key,)
        config = write_shop(home / "shop", LAST_DAY)
        (home / "release_policy.yaml").write_text(POLICY, encoding="utf-8")
        ports = {name: free_port() for name in ("prometheus", "alertmanager", "bridge", "statsd")}
        extra = {
            "PIPELINE_CONFIG": str(config),
            "RELEASE_POLICY": str(home / "release_policy.yaml"),
            "PROMETHEUS_URL": f"http://127.0.0.1:{ports['prometheus']}",
            "ALERTMANAGER_URL": f"http://127.0.0.1:{ports['alertmanager']}",
            "AIRFLOW_CONN_WECOM_ROBOT": robot.connection(),
            **statsd_settings(ports["statsd"]),
        }
        stack = LoopStack(home, extra=extra)
        watch = MonitoringStack(
            home / "monitoring",
            stack.replicas,
            ReleasePaths(home).data_quality_metrics.parent,
            airflow_url=stack.airflow_url,
            bridge=lambda _: [sys.executable, "-m", "alert_bridge"],
            ports=ports,
        )
        watch.environment = {**stack.environment, **_bridge(home, robot, bridge_key, stack, watch, ports["bridge"])}
        with watch, stack, stack.rest() as rest:
            made = Loop(Installation(stack, rest, robot), stack, watch, robot, bridge_key)
            made.shop.wait_until("Airflow knows the DAGs", lambda: all(_known(made.shop, dag) for dag in DAGS))
            made.shop.unpause("recommendation_pipeline")
            yield made


def _known(shop: Installation, dag_id: str) -> bool:
    return shop.rest.get(f"/dags/{dag_id}").is_success


def _bridge(
    home: Path, robot: FakeWeCom, key: str, stack: LoopStack, watch: MonitoringStack, port: int
) -> Mapping[str, str]:
    return {
        "MODEL_RELEASE_HOME": str(home),
        "ALERT_BRIDGE_PORT": str(port),
        "ALERT_BRIDGE_TOKEN_FILE": str(watch.token_file),
        "ALERT_BRIDGE_ROBOTS": f"oncall={key}",
        "ALERT_BRIDGE_WECOM_URL": f"http://127.0.0.1:{urlsplit(robot.url).port}",
        "ALERT_BRIDGE_AIRFLOW_URL": stack.airflow_url,
    }
