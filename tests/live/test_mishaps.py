"""A failure at every task, one by one: what users get is fully the old run or fully the new one, and it is written down."""

from __future__ import annotations

import pytest

from tests.live.installation import AS_OF, PIPELINE, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TASKS = ("check_data", "train", "evaluate", "register", "quality_gate", "model_reload", "verify")


@pytest.fixture(scope="module")
def released(installation: Installation) -> Installation:
    """Some run is current and the DAG takes triggers."""
    installation.sell_on()
    installation.unpause(PIPELINE)
    if installation.current is None:
        assert installation.run(as_of=AS_OF[0]).state == "success"
    runs = installation.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["dag_runs"]
    for run in runs:
        installation.ended(PIPELINE, run["dag_run_id"])
    return installation


@pytest.mark.parametrize("task", TASKS)
def test_a_failure_before_its_work_leaves_serving_untouched(released: Installation, task: str) -> None:
    current, lists = released.current, released.lists()
    with released.fault(task, "before"):
        ended = released.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "failed"
    assert ended.tasks[task] == "failed"
    assert ended.tasks["close_release"] == "success"
    assert (released.current, released.lists()) == (current, lists)
    assert f"{task} failed" in " ".join(entry.reason for entry in ended.entries)
    assert ("put_back" in ended.events) == (task == "verify")


def test_a_failure_after_the_reload_puts_the_old_run_back(released: Installation) -> None:
    """The run was committed and proved; the task then failed: the old lists come back, at a higher generation."""
    current, lists, generation = released.current, released.lists(), released.generation
    with released.fault("model_reload", "after"):
        ended = released.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "failed"
    assert ended.events.index("released") < ended.events.index("put_back") < ended.events.index("rolled_back")
    assert (released.current, released.lists(), released.generation) == (current, lists, generation + 2)


def test_a_killed_reload_is_tried_again_and_changes_nothing_twice(released: Installation) -> None:
    """SIGKILL right after the commit: the retry finds what was done, and one release is one generation."""
    generation = released.generation
    with released.fault("model_reload", "after", how="kill"):
        ended = released.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "success", ended.tasks
    assert released.generation == generation + 1
    assert ended.events.count("committed") == ended.events.count("released") == 1
    assert {served for served, _ in released.answers().values()} == {released.current}


def test_an_unreachable_api_changes_nothing(released: Installation) -> None:
    """No replica can prepare: retried, then failed, before anything was committed."""
    current, generation, lists = released.current, released.generation, released.lists()
    released.stack.services["recommendation API"].stop()
    try:
        ended = released.run(as_of=AS_OF[4], algorithm="personal_frequency")
    finally:
        released.stack.start_api()
        released.stack.wait_for("recommendation API", f"{released.stack.api_url}/health/ready")
    assert ended.state == "failed"
    assert ended.tasks["model_reload"] == "failed"
    assert "committed" not in ended.events
    assert (released.current, released.generation, released.lists()) == (current, generation, lists)
