"""What a try keeps for the next one, and the links of a task, with a real Airflow and its task state store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local_stack import LocalStack
from scripts.services import PROJECT
from tests.fakes_wecom import wecom
from tests.live.installation import Installation

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
'''


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("tries")
    dags = home / "dags"
    dags.mkdir()
    (dags / "keeping.py").write_text(KEEPING, encoding="utf-8")
    source = PROJECT / "dags" / f"{RECONCILE}.py"
    (dags / source.name).write_text(Path(source).read_text(encoding="utf-8"), encoding="utf-8")
    with (
        wecom() as robot,
        LocalStack(home, extra={"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}) as stack,
        stack.rest() as rest,
    ):
        made = Installation(stack, rest, robot)
        known = (DAG_ID, RECONCILE)
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


def test_a_task_links_the_replicas_that_there_are(airflow: Installation) -> None:
    """There is one replica: the other links are empty, and the UI leaves them out."""
    ended = airflow.run(RECONCILE)
    base = f"/dags/{RECONCILE}/dagRuns/{ended.dag_run_id}/taskInstances/reconcile_state/links"
    links = airflow.rest.get(base).raise_for_status().json()["extra_links"]
    assert links == {
        "Models served now": f"{airflow.stack.api_url}/models",
        "Models served now, replica 2": None,
        "Models served now, replica 3": None,
        "Models served now, replica 4": None,
    }
