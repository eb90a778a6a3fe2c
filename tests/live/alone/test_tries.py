"""What a try keeps for the next one, who is told again, and links: with a real Airflow and its task state store.

The connection lists two replicas: a real one with two workers, and one in this process that may be deaf.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from model_release import registry as transitions
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from model_release_airflow.context import Stores
from scripts.local_stack import LocalStack
from scripts.services import PROJECT
from tests.airflow.replica_server import ReplicaServer
from tests.fakes_wecom import wecom
from tests.live.installation import Installation
from tests.runs import publish_run

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG_ID = "keeps_a_time"
RECONCILE = "recommendation_reconcile_state"
KEEPING = '''
import datetime as dt
import os
import signal
import time

from airflow.sdk import DAG, get_current_context, task

from model_release_airflow.durable import kept_time
from model_release_airflow.operators.model_reload import ModelReloadOperator


@task(retries=1, retry_delay=dt.timedelta(seconds=1))
def wait():
    """The first of two tries is killed."""
    context = get_current_context()
    at = kept_time(context, "until", {"generation": 1}, time.time())
    number = context["ti"].try_number
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"at": at, "began": context["ti"].start_date.timestamp(), "try": number}


with DAG("keeps_a_time", schedule=None, is_paused_upon_creation=False):
    wait()
with DAG("reloads", schedule=None, is_paused_upon_creation=False):
    ModelReloadOperator(task_id="model_reload", run_id="new", cause="person")
'''


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaServer]:
    """In an installation where ``old`` is current and ``new`` is registered."""
    paths = ReleasePaths(tmp_path_factory.mktemp("tries"))
    stores = Stores(paths, FileRegistry(paths), FileLedger(paths), RunStore(paths))
    for number, run_id in enumerate(("old", "new")):
        publish_run(paths, run_id, seed=number)
        same: dict[str, Any] = {"run_id": run_id, "release_id": "before", "at": utc_now()}
        digest = stores.runs.manifest_sha256(run_id)
        stores.registry.update(functools.partial(transitions.register, manifest_sha256=digest, **same))
    at, promote = utc_now(), transitions.promote
    stores.registry.update(lambda state: promote(state, run_id="old", release_id="before", at=at, cause="person"))
    server = ReplicaServer(stores)
    yield server
    server.close()


@pytest.fixture(scope="module")
def airflow(replica: ReplicaServer) -> Iterator[Installation]:
    home = replica.stores.paths.root
    dags = home / "dags"
    dags.mkdir()
    (dags / "keeping.py").write_text(KEEPING, encoding="utf-8")
    shutil.copy(PROJECT / "dags" / f"{RECONCILE}.py", dags)
    extra = {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    stack = LocalStack(home, extra=extra)
    connection: dict[str, Any] = {"conn_type": "recommendation_api", "password": stack.reload_token}
    connection |= {"extra": {"replicas": [stack.api_url, replica.url]}}
    extra["AIRFLOW_CONN_RECOMMENDATION_API"] = json.dumps(connection)
    with wecom() as robot, stack, stack.rest() as rest:
        made = Installation(stack, rest, robot)
        known = (DAG_ID, "reloads", RECONCILE)
        made.wait_until("Airflow knows the DAGs", lambda: all(rest.get(f"/dags/{dag}").is_success for dag in known))
        yield made


def test_a_killed_try_gives_its_time_to_the_next_and_a_clear_begins_anew(airflow: Installation) -> None:
    """Tries 1 and 3 are killed; 2 has the time of 1, and 4, after the clear, that of 3."""
    ended = airflow.run(DAG_ID)
    second = ended.result("wait")
    assert (ended.state, second["try"]) == ("success", 2)
    assert second["at"] < second["began"]
    body = {"dry_run": False, "dag_run_id": ended.dag_run_id, "only_failed": False, "reset_dag_runs": True}
    airflow.rest.post(f"/dags/{DAG_ID}/clearTaskInstances", json=body).raise_for_status()
    again = airflow.ended(DAG_ID, ended.dag_run_id)
    fourth = again.result("wait")
    assert (again.state, fourth["try"]) == ("success", 4)
    assert second["began"] < fourth["at"] < fourth["began"]


def test_a_task_links_the_replicas_that_there_are(airflow: Installation, replica: ReplicaServer) -> None:
    """There are two: the other links are empty, and the UI leaves them out."""
    ended = airflow.run(RECONCILE)
    base = f"/dags/{RECONCILE}/dagRuns/{ended.dag_run_id}/taskInstances/reconcile_state/links"
    links = airflow.rest.get(base).raise_for_status().json()["extra_links"]
    assert links == {
        "Models served now": f"{airflow.stack.api_url}/models",
        "Models served now, replica 2": f"{replica.url}/models",
        "Models served now, replica 3": None,
        "Models served now, replica 4": None,
    }


def test_a_replica_that_lags_is_told_again_by_a_worker(airflow: Installation, replica: ReplicaServer) -> None:
    """It acknowledged and did not follow: the triggerer says so after some seconds, and the release is proved."""
    replica.deaf = True
    dag_run_id = airflow.trigger("reloads", {})
    airflow.wait_until("everybody is told", lambda: len(replica.posts) == 2)
    replica.deaf = False
    ended = airflow.ended("reloads", dag_run_id)
    assert ended.state == "success"
    assert [request.prepare for request, _ in replica.posts] == [True, False, False]
    result = ended.result("model_reload")
    assert (result["workers"], result["missing"]) == (3, [])
    assert ended.events == ["committed", "released"]
    assert replica.replica.served.generation == result["generation"]
