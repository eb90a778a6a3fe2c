"""What was served yesterday, with what people then did: was the promise kept, and did all serve what was desired?

    reconcile

Writes ``data/evaluation/reconciliation_<date>.json``, which the next gate reads, and tells the day's summary once.  A
day that differs, or can't be told, is a result: the DAG run fails only if the file could not be written.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task

from model_release_airflow.context import decisions_fail, ends_at, optional_text
from model_release_airflow.form import RECONCILIATION_PARAMS, check_keys
from model_release_airflow.hooks.recommendation_api import replicas_if_known
from model_release_airflow.notifications.reconciliation import WeComReconciliationNotifier

ZONE = "Asia/Shanghai"
# An hour before the daily release, whose gate reads the file.  Empty: only when somebody starts it.
SCHEDULE = os.environ.get("RECOMMENDATION_RECONCILIATION_SCHEDULE", "30 2 * * *")


@task
def reconcile() -> dict[str, Any]:
    """Reconcile the day that was named, else the last one that was over when the data interval ended."""
    from model_release.adapters.sources import Sources
    from model_release.contract import utc_now
    from model_release.paths import ReleasePaths
    from model_release.policy import default_policy_path, load_policy
    from pipeline.config import load_config
    from pipeline.reconcile import reconcile as reconcile_day
    from pipeline.reconciliation.day import newest_complete, parse_date

    context = get_current_context()
    with decisions_fail():
        check_keys(context["params"], RECONCILIATION_PARAMS)
        config = load_config()
        asked = optional_text(context["params"]["date"])
        date = parse_date(asked) if asked else newest_complete(ends_at(context), config.source.zone)
        tolerance = load_policy(default_policy_path()).tolerance
        sources = Sources.from_environment()
        with replicas_if_known() as replicas:
            found = reconcile_day(
                config, ReleasePaths.from_environment(), tolerance, date,
                now=utc_now(), replicas=replicas, sources=sources,
            )  # fmt: skip
    return {"date": date.isoformat(), "status": found.status, "problems": list(found.problems)}


@dag(
    schedule=CronDataIntervalTimetable(SCHEDULE, timezone=ZONE) if SCHEDULE else None,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    params=RECONCILIATION_PARAMS,
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    on_success_callback=WeComReconciliationNotifier(),
    on_failure_callback=WeComReconciliationNotifier(failed=True),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_reconciliation() -> None:
    """Join, compare, write, tell."""
    reconcile()


recommendation_reconciliation()
