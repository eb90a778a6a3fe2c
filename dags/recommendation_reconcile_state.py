"""Does every worker of every replica serve what the registry desires?  Replicas that lag are told to follow.

    reconcile_state

It changes nothing that is desired, and leaves a release that is under way alone.  What following does not heal is told
once, and once more when it is over.
"""

from __future__ import annotations

import datetime as dt
import os

import pendulum
from airflow.sdk import CronTriggerTimetable, dag

from model_release_airflow.notifications.state import WeComStateNotifier
from model_release_airflow.operators.state_reconcile import StateReconcileOperator

ZONE = "Asia/Shanghai"
# Empty: only when somebody starts it.
SCHEDULE = os.environ.get("RECOMMENDATION_RECONCILE_STATE_SCHEDULE", "*/5 * * * *")


@dag(
    schedule=CronTriggerTimetable(SCHEDULE, timezone=ZONE) if SCHEDULE else None,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # a safety net that nobody has to remember to spread out
    default_args={"retries": 1, "retry_delay": dt.timedelta(seconds=5)},
    on_success_callback=WeComStateNotifier(),
    on_failure_callback=WeComStateNotifier(),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_reconcile_state() -> None:
    """Compare, heal, tell."""
    StateReconcileOperator(task_id="reconcile_state")


recommendation_reconcile_state()
