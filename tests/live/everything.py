"""A running Airflow with a small shop: what the live tests share, on whichever database and executor."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.local_stack import LocalStack
from scripts.services import PROJECT, free_port
from tests.executors.servers import Servers
from tests.fakes_wecom import FakeWeCom
from tests.live import trial_dag
from tests.live.documented import ONLINE, write_documented_dags
from tests.live.installation import Installation
from tests.live.shop import FIRST_DAYS, POLICY, write_shop

DAGS = ("recommendation_pipeline", "recommendation_rollback", "recommendation_latch")


@dataclass
class ServedStack(LocalStack):
    """The stack, with database and queue servers if it is given any."""

    servers: Servers | None = None

    def start_airflow(self) -> None:
        """Start the servers first."""
        if self.servers is None:
            super().start_airflow()
        else:
            self.servers.start(self)

    def stop(self) -> None:
        """End everything; a database and a queue would wait for each other's clients first."""
        if self.servers is not None:
            for service in reversed(list(self.services.values())):
                service.stop(number=signal.SIGKILL)
        super().stop()


@contextmanager
def installed(
    home: Path, robot: FakeWeCom, servers: Servers | None = None, *, schedule: str = "30 3 * * *"
) -> Iterator[Installation]:
    """Give everything, up and answering: the DAGs are known and paused, nothing is released yet.

    Args:
        home: a folder for it.
        robot: who is told.
        servers: what Airflow runs on; None: SQLite, and tasks are started by the scheduler.
        schedule: of ``recommendation_pipeline``; empty: it is only triggered.
    """
    config = write_shop(home / "shop", FIRST_DAYS)
    policy = home / "release_policy.yaml"
    policy.write_text(POLICY + ONLINE)
    (home / "trial_policy.yaml").write_text(trial_dag.POLICY)
    settings = home / "airflow" / "config" / "airflow_local_settings.py"
    settings.parent.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("faults.py"), settings)
    dags = home / "dags"
    shutil.copytree(PROJECT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("trial_dag.py", "approval_dag.py"):
        shutil.copy(Path(__file__).with_name(name), dags)
    write_documented_dags(dags)
    extra = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",  # then another one takes over what it watched
        "PROMETHEUS_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there, unless a test starts one
        "PIPELINE_CONFIG": str(config),
        "RELEASE_POLICY": str(policy),
        "AIRFLOW_CONN_WECOM_ROBOT": robot.connection(),
        **(servers.environment if servers else {}),
    }
    with ServedStack(home, extra=extra, schedule=schedule, servers=servers) as stack, stack.rest() as rest:
        made = Installation(stack, rest, robot)
        made.wait_until("Airflow knows the DAGs", lambda: all(rest.get(f"/dags/{dag}").is_success for dag in DAGS))
        yield made
