"""A critical alert that names the current run, or the one on trial, starts ``recommendation_rollback``, once.

    decide >> start_rollback

The triggerer watches Alertmanager (``ALERTMANAGER_URL``).  What was decided, and why, stands in the ledger.
"""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag

from model_release.standing import ACTING
from model_release_airflow.assets import firing_alerts
from model_release_airflow.failures import failed_work, working_again
from model_release_airflow.notifications.state import WeComStateNotifier
from model_release_airflow.operators.alerts_act import AlertsActOperator


@dag(
    schedule=[firing_alerts()],
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # a paused DAG watches nothing
    default_args={"retries": 2, "retry_delay": dt.timedelta(seconds=5)},
    on_success_callback=WeComStateNotifier(),
    on_failure_callback=WeComStateNotifier(),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_act_on_alerts() -> None:
    """Decide, start."""
    decided = AlertsActOperator(task_id="decide")
    TriggerDagRunOperator.partial(
        task_id="start_rollback",
        trigger_dag_id="recommendation_rollback",
        logical_date=None,
        skip_when_already_exists=True,  # then it was started before
        fail_when_dag_is_paused=True,  # else it would wait there, and nobody would know
        openlineage_inject_parent_info=False,  # a key that the rollback's form has not
        on_failure_callback=failed_work(ACTING),
        on_success_callback=working_again(ACTING),
        on_skipped_callback=working_again(ACTING),
    ).expand_kwargs(decided.output)


recommendation_act_on_alerts()
