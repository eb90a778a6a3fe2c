"""Refuse a trigger whose ``conf`` has a key that the form does not know, before there is a DAG run.

Airflow checks values of declared params and lets any other key pass.  Its one hook that sees ``conf`` while a trigger is
still being answered is this cluster policy: what it raises becomes status 400, in the UI too, or ends the command.
It is called for the tasks of every DAG of the installation, so it looks at the DAG's name first and imports late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

_PREFIX = "recommendation_"


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Raise ``InvalidInputError``, a ``ValueError``, for a new DAG run of ours with an unknown key.

    A DAG run that exists is left alone: an error here, from the scheduler's own calls, would end the scheduler.
    """
    if dag_run is None or not dag_run.conf or not task_instance.dag_id.startswith(_PREFIX):
        return
    if dag_run.state != "queued" or dag_run.start_date is not None or dag_run.clear_number:
        return
    from model_release_airflow.form import FORMS, check_keys

    if task_instance.dag_id in FORMS:
        check_keys(dag_run.conf, FORMS[task_instance.dag_id])
