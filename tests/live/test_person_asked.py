"""A person is asked, in a real Airflow: by the API that its page of required actions uses."""

from __future__ import annotations

import time
from typing import Any

import pytest

from model_release.adapters.file_registry import FileRegistry
from model_release_airflow.operators.approval import APPROVE, DECLINE
from tests.live.installation import AS_OF, PIPELINE, Ended, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG, BRIEF = "asks_first", "asks_briefly"
READING_SECONDS = 8.0  # an answer at once may meet a scheduler that has not heard of the deferral: decision 0072


@pytest.fixture(scope="module")
def another(on_sale: Installation) -> str:
    """Return a run that may be released and is not current."""
    on_sale.wait_until("Airflow knows the DAG", lambda: on_sale.rest.get(f"/dags/{DAG}").is_success)
    before = on_sale.current
    ended = on_sale.run(PIPELINE, as_of=AS_OF[4], algorithm="next_basket")  # not older than any test's current run
    assert ended.state == "success", (ended.tasks, [entry.reason for entry in ended.entries])
    assert before is not None
    assert before != on_sale.current
    return before


def asked(installation: Installation, dag_run_id: str) -> dict[str, Any]:
    """Wait for the question of a release, and for as long as a person needs to read it; return it."""
    path = f"/dags/{DAG}/dagRuns/{dag_run_id}/taskInstances/approval"
    installation.wait_until(
        "a person is asked", lambda: installation.rest.get(path).raise_for_status().json()["state"] == "deferred"
    )
    time.sleep(READING_SECONDS)
    return dict(installation.rest.get(f"{path}/-1/hitlDetails").raise_for_status().json())


def answer(installation: Installation, dag_run_id: str, option: str, reason: str, *, user: str = "") -> int:
    path = f"/dags/{DAG}/dagRuns/{dag_run_id}/taskInstances/approval/-1/hitlDetails"
    body = {"chosen_options": [option], "params_input": {"reason": reason}}
    stack = installation.stack
    with stack.rest(user, stack.viewer_password) if user else stack.rest() as rest:
        return rest.patch(path, json=body).status_code


def test_an_approval_releases_the_run(on_sale: Installation, another: str) -> None:
    """Nothing is committed before; a viewer can't answer; who did and why stand in the ledger and in the message."""
    generation = on_sale.generation
    dag_run_id = on_sale.trigger(DAG, {"run_id": another})
    question = asked(on_sale, dag_run_id)
    assert another in question["subject"]
    assert "ndcg-floor" in question["body"]
    assert on_sale.generation == generation
    assert answer(on_sale, dag_run_id, APPROVE, "not mine to say", user="viewer") == 403
    assert answer(on_sale, dag_run_id, APPROVE, "the lists look right") == 200
    ended = on_sale.ended(DAG, dag_run_id)
    assert ended.state == "success", ended.tasks
    assert on_sale.current == another
    approved = next(entry for entry in ended.entries if entry.event == "approved")
    assert (approved.details["who"], approved.reason) == ("admin", "the lists look right")
    assert ended.events.index("approved") < ended.events.index("committed")
    on_sale.wait_until("the robot tells of both", lambda: len(_told(on_sale, ended)) == 2, 60)
    told = _told(on_sale, ended)
    assert told[0].startswith("**🙋 May this run become current?")
    assert "approved by admin: the lists look right" in told[1]


@pytest.mark.usefixtures("another")
def test_a_no_and_silence_leave_the_current_run(on_sale: Installation) -> None:
    """Declined by a person, or by nobody in time: rejected, told, and nothing was committed."""
    current, generation = on_sale.current, on_sale.generation
    candidate = next(run.run_id for run in FileRegistry(on_sale.paths).read().runs if run.run_id != current)
    declined = on_sale.trigger(DAG, {"run_id": candidate})
    silent = on_sale.trigger(BRIEF, {"run_id": candidate})
    asked(on_sale, declined)
    assert answer(on_sale, declined, DECLINE, "too soon") == 200
    for dag_id, dag_run_id, reason in (
        (DAG, declined, "declined by admin: too soon"),
        (BRIEF, silent, "nobody answered"),
    ):
        ended = on_sale.ended(dag_id, dag_run_id)
        assert ended.state == "failed", ended.tasks
        assert (ended.tasks["approval"], ended.tasks["model_reload"]) == ("failed", "upstream_failed")
        assert ended.tasks["close_release"] == "success"
        assert "committed" not in ended.events
        rejected = next(entry for entry in ended.entries if entry.event == "rejected")
        assert rejected.reason.startswith(reason)
        on_sale.wait_until("the robot tells", lambda: len(_told(on_sale, ended)) == 2, 60)  # noqa: B023
        assert _told(on_sale, ended)[1].startswith("**⛔ Declined")
    assert (on_sale.current, on_sale.generation) == (current, generation)


def _told(installation: Installation, ended: Ended) -> list[str]:
    return [text for text in installation.robot.texts if f"`{ended.release_id}`" in text]
