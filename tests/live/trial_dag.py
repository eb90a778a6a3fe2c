"""A DAG of somebody else's with a trial: put into the DAG folder of the test stack.

Its lease is shorter than the gate's budget: the trial only lasts until the gate has decided because it is renewed.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from airflow.sdk import DAG, task

from model_release_airflow.context import decisions_fail
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_register import RunRegisterOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.sensors.quality_gate import QualityGateSensor

LEASE_SECONDS = 30
POLICY = """
schema_version: 1
name: trial
checks:
  - {name: ndcg-floor, kind: absolute, metric: ndcg_at_10, at_least: 0.02, minimum_users: 50}
online:
  budgets: {error_minutes: 0.75, inconclusive_minutes: 0.75}
  minimum_minutes: 0
  step_seconds: 1
  replicas: up
  checks:
    - {name: errors, kind: query, query: "errors", at_most: 0.01}
"""


@task
def train() -> str:
    """Measure the data, train and evaluate."""
    from model_release.paths import ReleasePaths
    from pipeline.config import load_config
    from pipeline.data_quality_v2 import check_data
    from pipeline.evaluate import evaluate
    from pipeline.train_models import train as train_run

    with decisions_fail():
        config, paths, as_of = load_config(), ReleasePaths.from_environment(), dt.datetime(2026, 2, 22, tzinfo=dt.UTC)
        check_data(config, paths, as_of)
        trained = train_run(config, paths, as_of, "next_basket")
        evaluate(config, paths, trained.run_id)
    return trained.run_id


with DAG("with_a_trial", schedule=None, is_paused_upon_creation=False, max_active_runs=1):
    policy = str(Path(os.environ.get("MODEL_RELEASE_HOME", ".")) / "trial_policy.yaml")
    run_id = "{{ ti.xcom_pull('train') }}"
    (
        train()
        >> RunRegisterOperator(task_id="register", run_id=run_id)
        >> QualityGateSensor(task_id="quality_gate", run_id=run_id, policy=policy)
        >> ModelReloadOperator(
            task_id="start_trial", run_id=run_id, mode="shadow", rollout=0.5, lease_seconds=LEASE_SECONDS
        )
        >> RunVerifyOperator(task_id="verify_trial", run_id=run_id, mode="shadow")
        >> QualityGateSensor(
            task_id="online_gate",
            run_id=run_id,
            stage="online",
            policy=policy,
            lease_seconds=LEASE_SECONDS,
            poke_interval=1.0,
        )
        >> ModelReloadOperator(task_id="model_reload", run_id=run_id)
        >> ReleaseCloseOperator(task_id="close_release", retries=3).as_teardown()
    )
