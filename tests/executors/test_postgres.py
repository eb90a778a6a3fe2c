"""The main job on PostgreSQL, with tasks that the scheduler itself starts: LocalExecutor."""

from __future__ import annotations

import pytest

from tests.executors.servers import Servers
from tests.live import test_main_job as story
from tests.live.installation import PIPELINE, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
EXECUTOR = "LocalExecutor"

# of the story on SQLite, in its order; test_celery.py runs more of it
test_the_schedule_releases_the_first_run = story.test_the_schedule_releases_the_first_run
test_a_run_started_as_the_button_does_is_released_and_everybody_is_told = (
    story.test_a_run_started_as_the_button_does_is_released_and_everybody_is_told
)
test_a_worse_model_is_rejected_with_numbers = story.test_a_worse_model_is_rejected_with_numbers
test_the_rollback_brings_back_the_lists_of_the_older_run = (
    story.test_the_rollback_brings_back_the_lists_of_the_older_run
)
test_no_secret_is_in_any_log_or_file = story.test_no_secret_is_in_any_log_or_file


def test_airflow_kept_it_in_postgresql(installation: Installation, servers: Servers) -> None:
    """A story that ran on something else would prove nothing."""
    runs = installation.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["total_entries"]
    assert servers.postgres.count("dag_run") >= runs >= 4
