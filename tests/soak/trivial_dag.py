"""As many tasks as a round of releases has, which do nothing: what Airflow itself keeps of a DAG run."""

from __future__ import annotations

from airflow.sdk import DAG, task

TASKS = 11  # eight of a release, half of a rollback's five, a fifth of the pruning's one

with DAG("trivial", schedule=None, is_paused_upon_creation=False, max_active_runs=1):
    before = None
    for number in range(TASKS):

        @task(task_id=f"task_{number}")
        def nothing() -> dict[str, int]:
            """Return what a step would."""
            return {"number": 1}

        now = nothing()
        if before is not None:
            before >> now
        before = now
