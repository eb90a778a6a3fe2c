"""Train a recommendation model and release it, if the gate lets it pass.

    check_data >> train >> evaluate >> release

and a release is

    register >> quality_gate >> [each step: trial >> judge it] >> [approval] >> model_reload >> verify

A failed or rejected run leaves what users get untouched; ``close_release`` sees to it, whatever happened.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from model_release_airflow.context import decisions_fail
from model_release_airflow.failures import record_failure
from model_release_airflow.form import PIPELINE_PARAMS, read_form
from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.release import Approval, release_model

ZONE = "Asia/Shanghai"
# Half past three: the day's data is there, and users are asleep.  Empty: only when somebody starts it.
SCHEDULE = os.environ.get("RECOMMENDATION_PIPELINE_SCHEDULE", "30 3 * * *")
# The trials before everybody gets a run, such as "shadow:0.1 canary:0.05 canary:0.25": they need a Prometheus and a policy
# with an online section.
STEPS = os.environ.get("RECOMMENDATION_RELEASE_STEPS", "")
# How many hours a person has to approve of a run before everybody gets it.  Empty: nobody is asked.
APPROVAL_HOURS = os.environ.get("RECOMMENDATION_RELEASE_APPROVAL_HOURS", "")


@task
def check_data() -> dict[str, Any]:
    """Measure the data's quality; what is good enough, the gate decides."""
    from model_release.paths import ReleasePaths
    from pipeline.config import load_config
    from pipeline.data_quality_v2 import check_data as check

    with decisions_fail():
        form = read_form(get_current_context()["params"])
        config = load_config()
        report = check(config, ReleasePaths.from_environment(), form.training_cutoff(config.source.zone))
    return {"scores": dict(report.scores)}


@task
def train() -> dict[str, Any]:
    """Train on everything before ``as_of``; passed over if an existing run is to be released."""
    from model_release.paths import ReleasePaths
    from pipeline.config import load_config
    from pipeline.train_models import train as train_run

    with decisions_fail():
        form = read_form(get_current_context()["params"])
        if form.run_id is not None:
            raise AirflowSkipException(f"run {form.run_id} is there already")
        config = load_config()
        as_of = form.training_cutoff(config.source.zone)
        trained = train_run(config, ReleasePaths.from_environment(), as_of, form.algorithm)
    return dataclasses.asdict(trained)


@task(trigger_rule="none_failed")
def evaluate(trained: dict[str, Any] | None) -> dict[str, Any]:
    """Measure the run, and the current one, on the days after ``as_of``."""
    from model_release.paths import ReleasePaths
    from pipeline.config import load_config
    from pipeline.evaluate import evaluate as evaluate_run

    with decisions_fail():
        form = read_form(get_current_context()["params"])
        run_id = form.run_id or (trained or {})["run_id"]
        summary = evaluate_run(load_config(), ReleasePaths.from_environment(), run_id)
    return {"run_id": summary.run_id, "against": summary.against, "metrics": summary.metrics.model_dump()}


@dag(
    schedule=CronTriggerTimetable(SCHEDULE, timezone=ZONE) if SCHEDULE else None,
    start_date=pendulum.datetime(2026, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    params=PIPELINE_PARAMS,
    default_args={
        "retries": 1,
        "retry_delay": dt.timedelta(seconds=10),
        "on_failure_callback": record_failure,
    },
    on_success_callback=WeComRobotNotifier(),
    on_failure_callback=WeComRobotNotifier(failed=True),
    tags=["recommendation", "release"],
    doc_md=__doc__,
)
def recommendation_pipeline() -> None:
    """Check, train, evaluate, release."""
    trained = train()
    (
        check_data()
        >> trained
        >> evaluate(trained)  # type: ignore[arg-type]  # the task's result, once it has run
        >> release_model(
            run_id="{{ ti.xcom_pull('evaluate')['run_id'] }}",
            steps=STEPS,
            approval=Approval(hours=float(APPROVAL_HOURS)) if APPROVAL_HOURS else None,
            mode="{{ params.mode }}",
            rollout="{{ params.rollout }}",
            lease_seconds="{{ params.lease_hours * 3600 }}",
            dry_run="{{ params.dry_run }}",
        )
    )


recommendation_pipeline()
