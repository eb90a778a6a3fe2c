"""A real Airflow (scheduler, triggerer, API server, DAG processor) and a real recommendation API, once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local_stack import LocalStack
from scripts.services import PROJECT, free_port
from tests.fakes_wecom import FakeWeCom, wecom
from tests.live import trial_dag
from tests.live.documented import ONLINE, write_documented_dags
from tests.live.installation import PIPELINE, Installation
from tests.live.shop import FIRST_DAYS, POLICY, write_shop

DAGS = ("recommendation_pipeline", "recommendation_rollback", "recommendation_latch")


@pytest.fixture(scope="session")
def robot() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, robot: FakeWeCom) -> Iterator[Installation]:
    """Everything is up, the DAGs are known and paused, nothing is released yet."""
    home = tmp_path_factory.mktemp("live")
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
    }
    with LocalStack(home, extra=extra, schedule="30 3 * * *") as stack, stack.rest() as rest:
        made = Installation(stack, rest, robot)
        made.wait_until("Airflow knows the DAGs", lambda: all(rest.get(f"/dags/{dag}").is_success for dag in DAGS))
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
