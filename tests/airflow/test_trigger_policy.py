"""A trigger with a key that no form has is refused before there is a DAG run; a DAG run that exists is left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_release.errors import InvalidInputError
from model_release_airflow.form import FORMS
from model_release_airflow.trigger_policy import task_instance_mutation_hook
from scripts.check_dags import read_dags

PROJECT = Path(__file__).resolve().parents[2]


def hook(dag_id: str, conf: dict[str, Any] | None, **changes: Any) -> None:
    run = {"conf": conf, "state": "queued", "start_date": None, "clear_number": 0, **changes}
    task_instance: Any = SimpleNamespace(dag_id=dag_id)
    dag_run: Any = SimpleNamespace(**run)
    task_instance_mutation_hook(task_instance, dag_run)


@pytest.mark.parametrize(
    ("dag_id", "conf", "said"),
    [
        ("recommendation_pipeline", {"modus": "shadow"}, "modus: unknown key, did you mean 'mode'?"),
        ("recommendation_rollback", {"reason": "r", "runid": "a"}, "runid: unknown key, did you mean 'run_id'?"),
        ("recommendation_latch", {"reason": "r", "xyz": 1}, "xyz: unknown key; there are action, reason"),
    ],
)
def test_a_key_that_the_form_has_not_is_refused_by_name(dag_id: str, conf: dict[str, Any], said: str) -> None:
    """As a ``ValueError``: that is what Airflow's API answers with 400."""
    with pytest.raises(InvalidInputError) as caught:
        hook(dag_id, conf)
    assert str(caught.value) == said
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("conf", [None, {}, {"mode": "shadow", "rollout": 0.1}])
def test_what_the_form_has_passes(conf: dict[str, Any] | None) -> None:
    """So does anything in the DAGs of others."""
    hook("recommendation_pipeline", conf)
    hook("recommendation_of_others", {"anything": 1})
    with pytest.raises(InvalidInputError):
        hook("recommendation_pipeline", {**(conf or {}), "anything": 1})


@pytest.mark.parametrize("change", [{"state": "running"}, {"start_date": "then"}, {"clear_number": 1}])
def test_a_dag_run_that_exists_is_left_alone(change: dict[str, Any]) -> None:
    """The scheduler calls the same hook, and an error there would end it."""
    hook("recommendation_pipeline", {"modus": "shadow"}, **change)


def test_the_forms_are_those_of_the_dags() -> None:
    """All of them, by name."""
    assert {dag_id: set(dag.params) for dag_id, dag in read_dags().dags.items()} == {
        dag_id: set(form) for dag_id, form in FORMS.items()
    }


def run_beside_airflow(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process whose Airflow has its home in ``home`` and the project's plugins."""
    environment = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=home, capture_output=True, text=True, check=False
    )


def test_airflow_finds_the_policy_where_its_local_settings_are(tmp_path: Path) -> None:
    """The project's file, copied; starting up does not import the forms."""
    (tmp_path / "config").mkdir()
    shutil.copy(PROJECT / "config" / "airflow_local_settings.py", tmp_path / "config")
    code = """
import sys
from airflow.settings import get_policy_plugin_manager
assert get_policy_plugin_manager().hook.task_instance_mutation_hook.get_hookimpls()
assert "model_release_airflow.form" not in sys.modules
"""
    done = run_beside_airflow(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_project_brings_no_settings_that_hide_those_of_an_installation(tmp_path: Path) -> None:
    """Whoever has a file of their own in ``$AIRFLOW_HOME/config`` keeps it, with this project installed."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "airflow_local_settings.py").write_text("OWN = True\n")
    done = run_beside_airflow("import airflow, airflow_local_settings; assert airflow_local_settings.OWN", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
