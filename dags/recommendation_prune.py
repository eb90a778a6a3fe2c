"""Old runs are removed from disk every day, as ``retention`` of the release policy says.

    prune

What is current, on trial, what a rollback would go to, runs on hold and those of open releases always stay.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from model_release.standing import PRUNING
from model_release_airflow.context import Stores, actor, decisions_fail
from model_release_airflow.failures import failed_work, record_working_again
from model_release_airflow.notifications.state import WeComStateNotifier

ZONE = "Asia/Shanghai"
# Empty: only when somebody starts it.
SCHEDULE = os.environ.get("RECOMMENDATION_PRUNE_SCHEDULE", "30 5 * * *")


@task(on_failure_callback=failed_work(PRUNING))
def prune() -> dict[str, Any]:
    """Remove what the policy does not keep."""
    from model_release.adapters.run_pruning import Pruner
    from model_release.contract import utc_now
    from model_release.policy import default_policy_path, load_policy

    context = get_current_context()
    with decisions_fail():
        retention = load_policy(default_policy_path()).retention
        swept = None
        if retention is not None:
            swept = Pruner(Stores.from_environment().paths, retention, by=actor(context)).sweep(utc_now())
        record_working_again(PRUNING, context)
    if swept is None:
        return {"runs": [], "staging": [], "bytes": 0, "kept": {}}
    return {
        "runs": [run.run_id for run in swept.runs.doomed],
        "staging": [run.run_id for run in swept.staging.doomed],
        "bytes": swept.freed,
        "kept": {run_id: why.value for run_id, why in swept.runs.kept.items()},
    }


@dag(
    schedule=CronTriggerTimetable(SCHEDULE, timezone=ZONE) if SCHEDULE else None,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # a full disk stops every release
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    on_success_callback=WeComStateNotifier(),
    on_failure_callback=WeComStateNotifier(),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_prune() -> None:
    """Look, remove, tell."""
    prune()


recommendation_prune()
