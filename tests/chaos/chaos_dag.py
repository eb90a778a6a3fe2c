"""Releases of runs that are there already, step by step: put into the DAG folder of the chaos stack."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.release import release_model

HOME = Path(os.environ.get("MODEL_RELEASE_HOME", "."))
# name: policy; "chaos_lease" has one that never lets a trial pass
DAGS = {"chaos_release": "release_policy", "chaos_other": "release_policy", "chaos_lease": "waiting_policy"}

for name, policy in DAGS.items():
    with DAG(
        name,
        schedule=None,
        is_paused_upon_creation=False,
        max_active_runs=16,
        on_success_callback=WeComRobotNotifier(),
        on_failure_callback=WeComRobotNotifier(failed=True),
    ):
        release_model(
            run_id="{{ dag_run.conf['run_id'] }}",
            policy=str(HOME / f"{policy}.yaml"),
            steps=os.environ.get("CHAOS_STEPS", "canary:0.5"),
            poke_interval=1.0,
        )
