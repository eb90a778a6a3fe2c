"""The DAG files: they parse, they say what runs in which order, and their forms refuse what makes no sense."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context

from model_release.contract import utc_now
from model_release.errors import InvalidInputError
from model_release.registry import promote
from model_release_airflow.assets import RELEASE
from model_release_airflow.context import Stores
from model_release_airflow.form import read_form
from scripts.check_dags import read_dags
from tests.airflow.contexts import context

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    bag = read_dags()
    assert bag.import_errors == {}
    return dict(bag.dags)


def chain(dag: Any) -> list[str]:
    return [task.task_id for task in dag.topological_sort()]


def test_the_pipeline_runs_its_tasks_in_order(dags: dict[str, Any]) -> None:
    dag = dags["recommendation_pipeline"]
    tasks = ["check_data", "train", "evaluate", "register", "quality_gate", "model_reload", "verify", "close_release"]
    assert chain(dag) == tasks
    for before, after in itertools.pairwise(tasks):
        assert after in dag.get_task(before).downstream_task_ids
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert dag.get_task("close_release").is_teardown
    # with it, this last task alone would decide: a run whose gate failed would count as a success
    assert not dag.get_task("close_release").on_failure_fail_dagrun


def test_the_schedule_is_a_time_in_shanghai(dags: dict[str, Any]) -> None:
    timetable = dags["recommendation_pipeline"].timetable
    assert timetable.expression == "30 3 * * *"
    assert str(timetable.timezone) == "Asia/Shanghai"


def test_every_task_that_changes_something_is_tried_again(dags: dict[str, Any]) -> None:
    """A killed worker or scheduler costs a try: without a second one the release would end there."""
    for dag in dags.values():
        for task in dag.tasks:
            assert task.retries >= 1, (dag.dag_id, task.task_id)
            assert task.retry_delay >= timedelta(seconds=1)


def test_every_dag_tells_how_it_ended(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert dag.has_on_success_callback, dag.dag_id
        assert dag.has_on_failure_callback, dag.dag_id


def test_the_way_back_runs_as_soon_as_it_is_asked_for(dags: dict[str, Any]) -> None:
    """A paused DAG takes a trigger and leaves it in the queue."""
    for dag_id in ("recommendation_rollback", "recommendation_latch"):
        assert dags[dag_id].is_paused_upon_creation is False


def test_the_state_is_reconciled_every_few_minutes_from_the_start(dags: dict[str, Any]) -> None:
    """One look at a time, the past is not made up for, and nobody has to turn it on."""
    dag = dags["recommendation_reconcile_state"]
    assert dag.timetable.expression == "*/5 * * * *"
    assert (dag.catchup, dag.max_active_runs, dag.is_paused_upon_creation) == (False, 1, False)
    assert chain(dag) == ["reconcile_state"]


@pytest.mark.parametrize(
    ("variable", "dag_id"),
    [
        ("RECOMMENDATION_PIPELINE_SCHEDULE", "recommendation_pipeline"),
        ("RECOMMENDATION_RECONCILE_STATE_SCHEDULE", "recommendation_reconcile_state"),
        ("RECOMMENDATION_RECONCILIATION_SCHEDULE", "recommendation_reconciliation"),
        ("RECOMMENDATION_ALERT_SILENCES_SCHEDULE", "recommendation_alert_silences"),
        ("RECOMMENDATION_PRUNE_SCHEDULE", "recommendation_prune"),
    ],
)
def test_a_schedule_is_changed_or_turned_off_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, dag_id: str
) -> None:
    for cron in ("7 * * * *", ""):
        monkeypatch.setenv(variable, cron)
        assert getattr(read_dags().dags[dag_id].timetable, "expression", "") == cron


def test_rollback_waits_for_no_gate(dags: dict[str, Any]) -> None:
    assert chain(dags["recommendation_rollback"]) == ["choose_run", "latch", "model_reload", "verify", "close_release"]


def choose(dags: dict[str, Any], *, dag_run_id: str, asked_at: datetime, run_id: str | None = None) -> str:
    """Run the task ``choose_run`` of one DAG run."""
    run = SimpleNamespace(run_id=dag_run_id, run_after=asked_at)
    params = {"reason": "complaints", "run_id": run_id, "set_latch": True}
    task_context: Any = context(run_id=dag_run_id, dag_run=run, params=params)
    with set_current_context(task_context):
        chosen: str = dags["recommendation_rollback"].get_task("choose_run").python_callable()
    return chosen


def test_a_rollback_goes_back_from_the_run_that_was_current_when_it_was_asked_for(
    dags: dict[str, Any], stores: Stores
) -> None:
    """The time is the DAG run's ``run_after``; asked before the last commit and without a name, it fails for good."""
    at = utc_now()
    stores.registry.update(lambda state: promote(state, run_id="new", release_id="r2", at=at))
    assert choose(dags, dag_run_id="manual__1", asked_at=at) == "old"
    early = at - timedelta(seconds=1)
    with pytest.raises(AirflowFailException, match="'new' is now, since"):
        choose(dags, dag_run_id="manual__2", asked_at=early)
    assert choose(dags, dag_run_id="manual__3", asked_at=early, run_id="old") == "old"


def test_a_misspelt_key_stops_rollback_and_latch_in_their_first_task(dags: dict[str, Any], stores: Stores) -> None:
    """For good, and with the key that was meant: without it, ``runid`` would go back to some other run."""
    task_context: Any = context(params={"reason": "why", "run_id": None, "set_latch": True, "runid": "old"})
    said = "runid: unknown key, did you mean 'run_id'"
    choose_run = dags["recommendation_rollback"].get_task("choose_run")
    with set_current_context(task_context), pytest.raises(AirflowFailException, match=said):
        choose_run.python_callable()
    before = stores.registry.read()
    with pytest.raises(AirflowFailException, match="reson: unknown key, did you mean 'reason'"):
        dags["recommendation_latch"].get_task("latch")._pre_execute_hook({"params": {"action": "set", "reson": "why"}})
    assert stores.registry.read() == before


def test_reading_the_dag_files_imports_nothing_heavy() -> None:
    """Airflow reads them every few seconds: data frames, numerics and the models stay out."""
    code = """
import sys
sys.path[:0] = ["dags"]
from pathlib import Path
import airflow.sdk
known = set(sys.modules)
for file in Path("dags").glob("*.py"):
    __import__(file.stem)
import model_release_airflow.release
heavy = {"numpy", "scipy", "pandas", "polars", "pyarrow", "implicit", "pandera", "matplotlib", "threadpoolctl",
         "prometheus_client", "granian", "uvicorn", "pipeline", "recommendation_api"} & (set(sys.modules) - known)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"mode": "primary", "rollout": 0.5}, "contradict each other"),
        ({"mode": "shadow"}, "needs a rollout"),
        ({"mode": "canary", "rollout": 1.5}, "rollout"),
        ({"run_id": "a", "as_of": "2026-01-01"}, "as_of and algorithm"),
        ({"run_id": "a", "algorithm": "popular"}, "as_of and algorithm"),
        ({"run_id": "../a"}, "run_id"),
        ({"modus": "shadow"}, "modus: unknown key, did you mean 'mode'"),
    ],
)
def test_a_form_that_contradicts_itself_is_refused_by_name(form: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_form(form)


def test_the_form_of_the_dag_is_the_form_that_is_read(dags: dict[str, Any]) -> None:
    """Its defaults make a valid form, and no field is shown that is not read."""
    defaults = dags["recommendation_pipeline"].params.dump()
    form = read_form(defaults)
    assert (form.mode, form.rollout, form.dry_run) == ("primary", None, False)
    assert set(defaults) == set(type(form).model_fields)


def blocks() -> list[str]:
    """Return the programs of the how-to guide."""
    guide = (PROJECT / "docs/how-to/append-to-your-own-dag.md").read_text(encoding="utf-8")
    return [part.split("```")[0] for part in guide.split("```python\n")[1:]]


def test_the_documented_dag_is_a_whole_release_in_20_lines() -> None:
    """The file of the how-to guide, word for word, makes the tasks that the guide names below it, in their order."""
    code = blocks()[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    names: dict[str, Any] = {}
    exec(compile(code.replace("\nmy_release()", "\nmade = my_release()"), "guide", "exec"), names)  # noqa: S102
    dag = names["made"]
    guide = (PROJECT / "docs/how-to/append-to-your-own-dag.md").read_text(encoding="utf-8")
    named = guide.split("in a task group `release`:")[1].split("\n- ")[0]
    written = re.findall(r"\w+", " ".join(line[4:].strip().split("   ")[0] for line in named.splitlines()))
    assert chain(dag) == ["train", *written]
    assert dag.get_task("close_release").is_teardown
    assert dag.get_task("register").task_group.group_id == "release"


def test_the_documented_chain_of_operators_can_be_appended_to_another_dag() -> None:
    """In at most 20 lines, downstream of a task ``train``."""
    code = blocks()[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    with DAG("another", schedule=None) as dag:
        names: dict[str, Any] = {"train": EmptyOperator(task_id="train")}
        exec(compile(code, "guide", "exec"), names)  # noqa: S102  (the guide's own code)
    trial = ["start_trial", "verify_trial", "online_gate"]
    assert chain(dag) == ["train", "register", "quality_gate", *trial, "model_reload", "verify", "close_release"]
    assert dag.get_task("close_release").is_teardown
    assert len(blocks()) == 2


def test_the_documented_consumer_is_scheduled_on_our_asset_and_reads_its_event() -> None:
    """The code block of the how-to guide: a DAG that runs when a model was released, and says which."""
    guide = (PROJECT / "docs/how-to/react-to-a-release.md").read_text(encoding="utf-8")
    code = guide.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code.replace("\nafter_a_release()", "\nmade = after_a_release()"), "guide", "exec"), names)  # noqa: S102
    dag = names["made"]
    assert list(dag.timetable.asset_condition.objects) == [RELEASE]
    extra = {"run_id": "a", "generation": 7, "rollback": True}
    said = dag.get_task("tell").python_callable({RELEASE: [SimpleNamespace(extra=extra)]})
    assert said == "went back to a, generation 7"
