"""The main job where a queue hands the tasks to workers: CeleryExecutor, Redis and PostgreSQL."""

from __future__ import annotations

import pytest
import redis

from tests.executors.servers import Servers
from tests.live import test_main_job as story
from tests.live.installation import PIPELINE, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
EXECUTOR = "CeleryExecutor"

# the same story as on SQLite, in its order; what only the API server answers is left out
test_the_schedule_releases_the_first_run = story.test_the_schedule_releases_the_first_run
test_a_run_started_as_the_button_does_is_released_and_everybody_is_told = (
    story.test_a_run_started_as_the_button_does_is_released_and_everybody_is_told
)
test_the_command_line_starts_a_shadow_that_users_never_see = (
    story.test_the_command_line_starts_a_shadow_that_users_never_see
)
test_the_candidate_is_released_later_by_its_run_id = story.test_the_candidate_is_released_later_by_its_run_id
test_a_worse_model_is_rejected_with_numbers = story.test_a_worse_model_is_rejected_with_numbers
test_a_dry_run_judges_and_prepares_and_changes_nothing = story.test_a_dry_run_judges_and_prepares_and_changes_nothing
test_the_rollback_brings_back_the_lists_of_the_older_run = (
    story.test_the_rollback_brings_back_the_lists_of_the_older_run
)
test_no_secret_is_in_any_log_or_file = story.test_no_secret_is_in_any_log_or_file


def test_the_tasks_went_through_the_queue(installation: Installation, servers: Servers) -> None:
    """A story that ran on something else would prove nothing: the workers' answers are in PostgreSQL, the queue in Redis."""
    assert servers.redis is not None
    runs = installation.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["total_entries"]
    assert servers.postgres.count("dag_run") >= runs > 4
    assert servers.postgres.count("celery_taskmeta") > 20
    with redis.Redis(port=servers.redis.port, password=servers.redis.password) as queue:
        assert queue.exists("_kombu.binding.default") == 1
