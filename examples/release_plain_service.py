"""Train, then release to somebody else's service: its reload path and body are in the connection ``our_service``.

Copy this file into your DAG folder; docs/how-to/release-another-service.md has the connection.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from model_release_airflow.release import release_model


@dag(schedule=None, catchup=False, max_active_runs=1, params={"run_id": "model-2"})
def release_plain_service() -> None:
    """Train, judge, switch the service, verify; or go back."""

    @task
    def train(run_id: str) -> str:
        """Your training, which publishes the run ``models/<run_id>/``; here one that is there already."""
        return run_id

    trained = train("{{ params.run_id }}")
    trained >> release_model(run_id=trained, conn_id="our_service")


release_plain_service()
