"""Allow automatic releases again after a rollback, or stop them: the latch, with a reason."""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow.sdk import dag

from model_release_airflow.form import LATCH_PARAMS, keys_checked
from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.operators.latch import LatchOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # without a schedule it only runs when asked, and then it has to
    params=LATCH_PARAMS,
    default_args={"retries": 1, "retry_delay": dt.timedelta(seconds=5)},
    on_success_callback=WeComRobotNotifier(),
    on_failure_callback=WeComRobotNotifier(failed=True),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_latch() -> None:
    """Change the latch."""
    LatchOperator(
        task_id="latch",
        action="{{ params.action }}",
        reason="{{ params.reason }}",
        pre_execute=keys_checked(LATCH_PARAMS),
    )


recommendation_latch()
