"""An alert about the data's quality that repeats gets one silence; it ends when the data is good again, and people hear so.

    quiet

While it lasts, a gate that counts silenced alerts, as that of the production policy, passes no release.
"""

from __future__ import annotations

import datetime as dt
import os

import pendulum
from airflow.sdk import CronTriggerTimetable, dag

from model_release_airflow.notifications.state import WeComAlertsNotifier, WeComStateNotifier
from model_release_airflow.operators.alerts_quiet import AlertsQuietOperator

ZONE = "Asia/Shanghai"
# Empty: only when somebody starts it.
SCHEDULE = os.environ.get("RECOMMENDATION_ALERT_SILENCES_SCHEDULE", "*/5 * * * *")


@dag(
    schedule=CronTriggerTimetable(SCHEDULE, timezone=ZONE) if SCHEDULE else None,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # what was silenced must be looked after
    default_args={"retries": 1, "retry_delay": dt.timedelta(seconds=5)},
    on_success_callback=[WeComAlertsNotifier(), WeComStateNotifier()],
    on_failure_callback=[WeComAlertsNotifier(), WeComStateNotifier()],
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_alert_silences() -> None:
    """Look, silence, end silences."""
    AlertsQuietOperator(task_id="quiet")


recommendation_alert_silences()
