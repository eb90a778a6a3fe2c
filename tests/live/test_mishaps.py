"""A failure at every task, one by one: what users get is fully the old run or fully the new one, and it is written down."""

from __future__ import annotations

import pytest

from tests.live.installation import AS_OF, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TASKS = ("check_data", "train", "evaluate", "register", "quality_gate", "model_reload", "verify")


@pytest.mark.parametrize("task", TASKS)
def test_a_failure_before_its_work_leaves_serving_untouched(on_sale: Installation, task: str) -> None:
    current, lists = on_sale.current, on_sale.lists()
    with on_sale.fault(task, "before"):
        ended = on_sale.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "failed"
    assert ended.tasks[task] == "failed"
    assert ended.tasks["close_release"] == "success"
    assert (on_sale.current, on_sale.lists()) == (current, lists)
    assert f"{task} failed" in " ".join(entry.reason for entry in ended.entries)
    assert ("put_back" in ended.events) == (task == "verify")


def test_a_failure_after_the_reload_puts_the_old_run_back(on_sale: Installation) -> None:
    """The run was committed and proved; the task then failed: the old lists come back, at a higher generation."""
    current, lists, generation = on_sale.current, on_sale.lists(), on_sale.generation
    with on_sale.fault("model_reload", "after"):
        ended = on_sale.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "failed"
    assert ended.events.index("released") < ended.events.index("put_back") < ended.events.index("rolled_back")
    assert (on_sale.current, on_sale.lists(), on_sale.generation) == (current, lists, generation + 2)


def test_a_killed_reload_is_tried_again_and_changes_nothing_twice(on_sale: Installation) -> None:
    """SIGKILL right after the commit: the retry finds what was done, and one release is one generation."""
    generation = on_sale.generation
    with on_sale.fault("model_reload", "after", how="kill"):
        ended = on_sale.run(as_of=AS_OF[3], algorithm="next_basket")
    assert ended.state == "success", ended.tasks
    assert on_sale.generation == generation + 1
    assert ended.events.count("committed") == ended.events.count("released") == 1
    assert {served for served, _ in on_sale.answers().values()} == {on_sale.current}


def test_an_unreachable_api_changes_nothing(on_sale: Installation) -> None:
    """No replica can prepare: retried, then failed, before anything was committed."""
    current, generation, lists = on_sale.current, on_sale.generation, on_sale.lists()
    on_sale.stack.services["recommendation API"].stop()
    try:
        ended = on_sale.run(as_of=AS_OF[4], algorithm="personal_frequency")
    finally:
        on_sale.stack.start_api()
        on_sale.stack.wait_for("recommendation API", f"{on_sale.stack.api_url}/health/ready")
    assert ended.state == "failed"
    assert ended.tasks["model_reload"] == "failed"
    assert "committed" not in ended.events
    assert (on_sale.current, on_sale.generation, on_sale.lists()) == (current, generation, lists)
