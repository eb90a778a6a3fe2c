"""Releases of runs that are there already, in three steps: put into the DAG folder of the chaos stack."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.release import release_model

STEPS = "shadow:0.2:20 canary:0.1:20 canary:0.5:20"

for name in ("chaos_release", "chaos_other"):
    with DAG(
        name,
        schedule=None,
        is_paused_upon_creation=False,
        max_active_runs=1,
        on_success_callback=WeComRobotNotifier(),
        on_failure_callback=WeComRobotNotifier(failed=True),
    ):
        release_model(
            run_id="{{ dag_run.conf['run_id'] }}",
            policy=str(Path(os.environ.get("MODEL_RELEASE_HOME", ".")) / "release_policy.yaml"),
            steps=STEPS,
            poke_interval=1.0,
        )
