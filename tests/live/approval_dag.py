"""DAGs that release a run only if a person approves: one waits for an hour, one for a moment.  For the test stack."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from model_release_airflow.notifications.wecom import WeComRobotNotifier
from model_release_airflow.release import Approval, release_model

for name, hours in (("asks_first", 1.0), ("asks_briefly", 0.002)):
    with DAG(
        name,
        schedule=None,
        is_paused_upon_creation=False,
        on_success_callback=WeComRobotNotifier(),
        on_failure_callback=WeComRobotNotifier(failed=True),
    ):
        release_model(
            run_id="{{ dag_run.conf['run_id'] }}",
            policy=str(Path(os.environ.get("MODEL_RELEASE_HOME", ".")) / "trial_policy.yaml"),
            approval=Approval(hours=hours),
            poke_interval=1.0,
        )
