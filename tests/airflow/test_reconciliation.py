"""``recommendation_reconciliation``: which day a DAG run is about, and that its finding is told once, and no old one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context

from model_release.adapters.files import write_atomic
from model_release.contract import utc_now
from model_release.ledger import Event
from model_release.paths import ReleasePaths
from model_release.reconciling.document import Document, render
from model_release_airflow.context import Stores
from model_release_airflow.notifications.reconciliation import WeComReconciliationNotifier
from scripts.check_dags import read_dags
from tests.airflow.contexts import context
from tests.fakes_wecom import FakeWeCom
from tests.pipeline import logs
from tests.pipeline.served import DATE, SEVEN, Served, instant

DAG_ID = "recommendation_reconciliation"
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = read_dags()
    assert bag.import_errors == {}
    return bag.dags[DAG_ID]


@pytest.fixture
def served(tmp_path: Path, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A shop that was asked on ``DATE``, in the installation of this Airflow."""
    source = logs.groceries(tmp_path / "data")
    shop = Served(source.config(), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    monkeypatch.setenv("PIPELINE_CONFIG", str(source.path))
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{schema_version: 1, name: x, checks: [{name: reconciled, kind: reconciliation, maximum_age_hours: 36, "
        "minimum_users: 5, maximum_relative_drop: 0.9}]}"
    )
    monkeypatch.setenv("RELEASE_POLICY", str(policy))
    return shop


def around(end: dt.datetime | None, *, run_after: dt.datetime | None = None, **changes: Any) -> dict[str, Any]:
    """Return the context of a DAG run with, or without, a data interval."""
    run = SimpleNamespace(
        run_id="scheduled__1", run_after=run_after or utc_now(), data_interval_end=end, triggering_user_name=None
    )
    usual = {"dag": SimpleNamespace(dag_id=DAG_ID), "run_id": "scheduled__1", "params": {"date": None}}
    return context(dag_run=run, **{**usual, **changes})


def run(dag: Any, task_context: Any) -> dict[str, Any]:
    with set_current_context(task_context):
        found: dict[str, Any] = dag.get_task("reconcile").python_callable()
    return found


def test_it_runs_once_a_day_and_makes_up_for_nothing(dag: Any) -> None:
    """With an interval for each day, so that a backfill knows which; one at a time."""
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("30 2 * * *", "Asia/Shanghai")
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_the_day_is_the_last_one_that_was_over_when_the_interval_ended(dag: Any, served: Served) -> None:
    """In the zone of the data, whatever that of the schedule is; the same when it is done again."""
    end = instant(DATE + dt.timedelta(days=1), dt.time(18, 30, tzinfo=dt.UTC))
    found = run(dag, around(end))
    assert found == {"date": str(DATE), "status": "agrees", "problems": []}
    file = served.paths.reconciliation_of(DATE)
    assert json.loads(file.read_bytes())["replicas"]["status"] == "not_asked"
    first = file.stat().st_ino
    assert run(dag, around(end)) == found
    assert file.stat().st_ino != first
    early = run(dag, around(end - 19 * HOUR))
    assert (early["date"], early["status"]) == (str(DATE - dt.timedelta(days=1)), "missing")


def test_a_run_without_an_interval_is_about_when_it_was_asked_for(dag: Any, served: Served) -> None:
    assert served.paths.exposures.exists()
    asked = instant(DATE + dt.timedelta(days=1), dt.time(1, tzinfo=dt.UTC))
    assert run(dag, around(None, run_after=asked))["date"] == str(DATE)


def test_a_day_that_is_named_is_taken_and_one_that_is_not_over_refused(dag: Any, served: Served) -> None:
    """For good; and so is a misspelt key."""
    assert run(dag, around(utc_now(), params={"date": str(DATE)}))["date"] == str(DATE)
    before = sorted(served.paths.evaluation.iterdir())
    today = utc_now().date()
    with pytest.raises(AirflowFailException, match="has not ended yet"):
        run(dag, around(utc_now(), params={"date": str(today)}))
    with pytest.raises(AirflowFailException, match="day: unknown key"):
        run(dag, around(utc_now(), params={"date": None, "day": "x"}))
    assert sorted(served.paths.evaluation.iterdir()) == before


# Telling


def write(served: Served, days_ago: int, **changes: Any) -> Document:
    """Write a reconciliation of a day that ended about so many days ago."""
    usual = served.reconcile()
    served.paths.reconciliation_of(DATE).unlink()
    date = utc_now().date() - dt.timedelta(days=days_ago + 1)
    found = usual.model_copy(update={"date": date, "written_at": utc_now(), **changes})
    write_atomic(served.paths.reconciliation_of(date), render(found))
    return found


def notify(end: dt.datetime | None = None, *, failed: bool = False, run_id: str = "scheduled__1") -> None:
    WeComReconciliationNotifier(failed=failed).notify(around(end or utc_now(), run_id=run_id))


def test_the_day_is_told_once_with_its_figures(served: Served, robot: FakeWeCom) -> None:
    document = write(served, 0)
    notify()
    notify(run_id="scheduled__2")
    (text,) = robot.texts
    assert text.startswith(f"**✅ Reconciled: {document.date}**")
    assert "45 answers, 15 users took something (interactions)" in text
    assert "hit_rate_at_10" in text.replace("＿", "_")
    assert f"http://airflow.example:8080/dags/{DAG_ID}/runs/scheduled__1" in text
    assert [entry.release_id for entry in Stores.from_environment().ledger.read() if entry.event is Event.NOTIFIED] == [
        f"reconciliation:{document.date}"
    ]


def test_a_day_reconciled_again_is_told_if_it_says_something_else(served: Served, robot: FakeWeCom) -> None:
    write(served, 0, status="missing", problems=("no events",))
    notify()
    write(served, 0, status="missing", problems=("no events",))
    notify()
    assert len(robot.texts) == 1
    write(served, 0, status="missing", problems=("no log",))
    notify()
    write(served, 0)
    notify()
    assert [text.splitlines()[0][2] for text in robot.texts] == ["❓", "❓", "✅"]


def test_a_backfill_tells_no_old_news(served: Served, robot: FakeWeCom) -> None:
    """Whatever the old day says: the newest file is told, and if that is old too, nothing is."""
    write(served, 5, status="differs", problems=("x",))
    notify(utc_now() - 5 * 24 * HOUR)
    assert robot.texts == []
    write(served, 0)
    notify()
    write(served, 9, status="differs", problems=("y",))
    notify(utc_now() - 9 * 24 * HOUR)
    assert len(robot.texts) == 1


def test_a_run_that_failed_is_told_once_unless_it_is_about_old_days(served: Served, robot: FakeWeCom) -> None:
    """A file from before is not told in its place."""
    write(served, 0)
    notify(failed=True)
    notify(failed=True)
    notify(utc_now() - 5 * 24 * HOUR, failed=True, run_id="backfill__1")
    (text,) = robot.texts
    assert text.startswith("**❌ The reconciliation failed**")


def test_a_failure_of_which_airflow_tells_little_is_told(served: Served, robot: FakeWeCom) -> None:
    """Without a task instance of this version Airflow's context has two keys."""
    assert served.paths.exposures.exists()
    WeComReconciliationNotifier(failed=True).notify({"dag": SimpleNamespace(dag_id=DAG_ID), "run_id": "scheduled__1"})
    assert len(robot.texts) == 1


def test_a_file_of_a_job_of_ones_own_is_told_and_a_damaged_one_is_not(served: Served, robot: FakeWeCom) -> None:
    date = utc_now().date() - dt.timedelta(days=1)
    own = {"schema_version": 1, "date": str(date), "written_at": utc_now().isoformat(), "status": "differs",
           "problems": [f"problem {number}" for number in range(8)]}  # fmt: skip
    file = served.paths.reconciliation_of(date)
    write_atomic(file, json.dumps(own)[:-1])
    notify()
    assert robot.texts == []
    write_atomic(file, json.dumps(own))
    notify()
    (text,) = robot.texts
    assert "- problem 4\n- and 3 more" in text


def test_nothing_at_all_is_not_told(paths: ReleasePaths, robot: FakeWeCom) -> None:
    assert not paths.evaluation.exists()
    notify()
    assert robot.texts == []


def test_what_is_told_before_anything_was_registered_does_not_stop_the_first_release(
    served: Served, robot: FakeWeCom
) -> None:
    """Nothing that a registry would have to know stands in the ledger."""
    write(served, 0)
    served.paths.registry.unlink()
    served.paths.ledger.unlink()
    notify()
    notify(failed=True)
    assert len(robot.texts) == 2
    assert Stores.from_environment().registry.read().generation == 0
