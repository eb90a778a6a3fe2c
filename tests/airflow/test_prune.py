"""The DAG that removes old runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time.context import set_current_context

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.run_store import RunStore
from model_release.ledger import Event
from model_release.paths import ReleasePaths
from model_release.standing import PRUNING, standing
from scripts.check_dags import read_dags
from tests.airflow.contexts import context
from tests.release.test_run_pruning import aged
from tests.runs import publish_run

CHECKS = "checks: [{name: a, kind: absolute, metric: ndcg_at_10, at_least: 0.1, minimum_users: 9}]\n"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasePaths:
    """Three old runs, none registered."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(tmp_path))
    paths = ReleasePaths(tmp_path)
    for place, run_id in enumerate(("a", "b", "c")):
        publish_run(paths, run_id)
        aged(paths.models / run_id, hours=1000.0 - place)
    return paths


def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retention: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"schema_version: 1\nname: test\n{retention}{CHECKS}")
    monkeypatch.setenv("RELEASE_POLICY", str(path))


def prune() -> dict[str, Any]:
    dag: Any = read_dags().dags["recommendation_prune"]
    task = dag.get_task("prune")
    task_context: Any = context(task)
    with set_current_context(task_context):
        try:
            found: dict[str, Any] = task.python_callable()
        except AirflowException as error:
            for callback in task.on_failure_callback:
                callback({**task_context, "exception": error})
            raise
    return found


def test_it_removes_what_the_policy_does_not_keep(
    world: ReleasePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(tmp_path, monkeypatch, "retention: {newest: 1, days: 30}\n")
    found = prune()
    assert found["runs"] == ["a", "b"]
    assert found["kept"] == {"c": "among the newest"}
    assert found["bytes"] > 0
    assert RunStore(world).run_ids() == ["c"]
    (entry, _) = FileLedger(world).read()
    assert entry.by == "airflow:recommendation_pipeline/prune (admin)"


def test_a_policy_without_retention_removes_nothing(
    world: ReleasePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(tmp_path, monkeypatch, "")
    assert prune()["runs"] == []
    assert len(RunStore(world).run_ids()) == 3


def test_a_failure_is_a_fact_until_it_works_again(
    world: ReleasePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(tmp_path, monkeypatch, "retention: {newest: 1, days: 30, past: 3}\n")
    with pytest.raises(AirflowException, match="past"):
        prune()
    ledger = FileLedger(world)
    assert {subject for subject, _ in standing(ledger.read())} == {PRUNING}
    policy(tmp_path, monkeypatch, "retention: {newest: 1, days: 30}\n")
    prune()
    assert standing(ledger.read()) == {}
    assert [entry.event for entry in ledger.read()].count(Event.RECOVERED) == 1


def test_the_dag_runs_daily_from_the_start() -> None:
    dag: Any = read_dags().dags["recommendation_prune"]
    assert dag.timetable.expression == "30 5 * * *"
    assert (dag.catchup, dag.max_active_runs, dag.is_paused_upon_creation) == (False, 1, False)
