"""The release as a task group: which tasks, in which order, in anybody's DAG."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from airflow.sdk import DAG, task

from model_release.errors import InvalidInputError
from model_release_airflow.failures import record_failure
from model_release_airflow.release import release_model
from scripts.check_dags import read_dags

TAIL = [
    "register",
    "quality_gate",
    "shadow_10",
    "judge_shadow_10",
    "canary_5",
    "judge_canary_5",
    "model_reload",
    "verify",
]


def dag_of(**arguments: Any) -> Any:
    dag: Any = DAG("somebodys")
    with dag:

        @task
        def train() -> str:
            return "run-1"

        trained = train()
        trained >> release_model(run_id=trained, **arguments)
    return dag


def test_each_step_is_tried_and_judged_before_the_next() -> None:
    """In one line, from the run's maker to the teardown, whose scope is everything."""
    dag = dag_of(steps="shadow:0.1 canary:0.05:60")
    assert [task.task_id for task in dag.topological_sort()] == ["train", *TAIL, "close_release"]
    for before, after in itertools.pairwise(["train", *TAIL, "close_release"]):
        assert after in dag.get_task(before).downstream_task_ids
    close = dag.get_task("close_release")
    assert close.is_teardown
    assert not close.on_failure_fail_dagrun


def test_the_gate_of_a_step_renews_that_steps_lease() -> None:
    """And judges what is on trial."""
    dag = dag_of(steps="canary:0.05:60", policy="p.yaml")
    trial, gate = dag.get_task("canary_5"), dag.get_task("judge_canary_5")
    assert (trial.mode, trial.rollout, trial.lease_seconds, trial.step) == ("canary", 0.05, 60, True)
    assert (gate.stage, gate.lease_seconds, gate.policy) == ("online", 60, "p.yaml")
    assert dag.get_task("quality_gate").policy == "p.yaml"


def test_only_the_last_reload_goes_on_after_steps_that_were_passed_over() -> None:
    """A step that is passed over takes its gate with it; the release goes on, unless something failed."""
    dag = dag_of(steps="shadow:0.1")
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks}
    assert rules.pop("model_reload") == "none_failed"
    assert rules.pop("close_release") == "all_done_setup_success"
    assert set(rules.values()) == {"all_success"}


def test_every_task_is_tried_again_and_writes_down_why_it_failed() -> None:
    """Whatever the DAG says of its own tasks."""
    dag = dag_of(steps="shadow:0.1")
    for task_id in [*TAIL[:4], "model_reload", "verify", "close_release"]:
        found = dag.get_task(task_id)
        assert found.retries == 3
        assert found.on_failure_callback in (record_failure, [record_failure])


def test_a_dag_can_make_two_releases() -> None:
    """With names of their own."""
    dag: Any = DAG("two")
    with dag:
        for name in ("home", "basket"):
            release_model(run_id=name, release_id=f"two:{name}", group_id=name, prefix_group_id=True)
    assert "home.register" in dag.task_ids
    assert "basket.close_release" in dag.task_ids


def test_steps_that_make_no_rollout_stop_the_dag_file() -> None:
    """At once, with the value."""
    with pytest.raises(InvalidInputError, match="canary_5 can't follow canary_25"):
        dag_of(steps="canary:0.25 canary:0.05")


def test_the_steps_of_the_pipeline_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None unless somebody asks for them."""
    monkeypatch.setenv("RECOMMENDATION_RELEASE_STEPS", "shadow:0.1 canary:0.05")
    bag: Any = read_dags()
    assert bag.import_errors == {}
    tasks = [task.task_id for task in bag.dags["recommendation_pipeline"].topological_sort()]
    assert tasks == ["check_data", "train", "evaluate", *TAIL, "close_release"]
