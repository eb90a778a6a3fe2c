"""Go back: make an older run current, or end a trial, on every replica, now.

    choose_run >> latch >> model_reload >> verify

Started by a person, with a reason, or by an alert (``recommendation_act_on_alerts``). It waits for no gate; it does not stop
at the latch, it sets it.
"""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow.sdk import dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from model_release_airflow.assets import RELEASE, announcing
from model_release_airflow.context import Stores, asked_at, decisions_fail, release_id_of
from model_release_airflow.failures import record_failure
from model_release_airflow.form import ROLLBACK_PARAMS, check_keys
from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.operators.latch import LatchOperator
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator


@task
def choose_run() -> str:
    """Return the run to go back to: the one that was named, else the last good one if nobody went first."""
    from model_release.reversal import rollback_target

    context, stores = get_current_context(), Stores.from_environment()
    with decisions_fail():
        check_keys(context["params"], ROLLBACK_PARAMS)
        run_id = rollback_target(
            stores.registry.read(),
            stores.ledger.read(),
            release_id=release_id_of(context),
            asked_at=asked_at(context),
            run_id=context["params"]["run_id"],
            away_from=context["params"].get("away_from"),  # a DAG run of before has none
        )
    if run_id is None:
        raise AirflowSkipException(f"run {context['params']['away_from']} is neither current nor on trial any more")
    return run_id


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # without a schedule it only runs when asked, and then it has to
    params=ROLLBACK_PARAMS,
    default_args={
        "retries": 2,
        "retry_delay": dt.timedelta(seconds=5),
        "on_failure_callback": record_failure,
    },
    on_success_callback=WeComRobotNotifier(),
    on_failure_callback=WeComRobotNotifier(failed=True),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_rollback() -> None:
    """Choose, latch, reload, verify."""
    run_id, reason = "{{ ti.xcom_pull('choose_run') }}", "{{ params.reason }}"
    (
        choose_run()
        >> LatchOperator(task_id="latch", action="{{ 'set' if params.set_latch else 'keep' }}", reason=reason)
        >> ModelReloadOperator(task_id="model_reload", run_id=run_id, cause="rollback", reason=reason)
        >> RunVerifyOperator(task_id="verify", run_id=run_id, **announcing(RELEASE))
        >> ReleaseCloseOperator(task_id="close_release").as_teardown()
    )


recommendation_rollback()
