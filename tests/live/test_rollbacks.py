"""Rollbacks that wait for each other in a real scheduler's queue, and old ones that are cleared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.contract import ReloadRequest
from tests.live.installation import ROLLBACK, Installation
from tests.runs import publish_run

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RUNS = ("live-a", "live-b", "live-c")


def release_by_hand(installation: Installation, run_id: str) -> None:
    with RecommendationApiClient(installation.stack.api_url, token=installation.stack.reload_token) as api:
        api.reload(ReloadRequest(run_id=run_id))
    assert installation.current == run_id


@pytest.fixture
def three(installation: Installation) -> Iterator[Installation]:
    """A, B and C served in turn; C is current.  Afterwards the run from before is."""
    before = installation.current
    for seed, run_id in enumerate(RUNS):
        publish_run(installation.paths, run_id, seed=seed)
        release_by_hand(installation, run_id)
    yield installation
    if before is not None:
        release_by_hand(installation, before)


def test_of_two_rollbacks_in_the_queue_exactly_one_goes_back(three: Installation) -> None:
    """Both are asked for while C is current; the second waits for the first, and then says that somebody went first.

    Cleared after something newer was released, the first moves nothing either.
    """
    url = f"/dags/{ROLLBACK}/dagRuns"
    before = three.generation

    def run(dag_run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = three.rest.get(f"{url}/{dag_run_id}").raise_for_status().json()
        return found

    ids = [three.trigger(ROLLBACK, {"reason": reason, "set_latch": False}) for reason in ("complaints", "me too")]
    asked = [run(dag_run_id)["run_after"] for dag_run_id in ids]
    three.wait_until("the first runs", lambda: run(ids[0])["state"] != "queued")
    assert run(ids[1])["state"] == "queued"
    first, second = (three.ended(ROLLBACK, dag_run_id) for dag_run_id in ids)

    assert (first.state, second.state) == ("success", "failed"), (first.tasks, second.tasks)
    assert first.result("choose_run") == "live-b"
    assert (three.current, three.generation) == ("live-b", before + 1)
    assert second.tasks["choose_run"] == "failed"
    assert second.tasks["latch"] == second.tasks["model_reload"] == "upstream_failed"
    (reason,) = [entry.reason for entry in second.entries if entry.event == "failed"]
    assert "run 'live-c' was current when this rollback was asked for" in reason
    assert "run 'live-b' is now" in reason

    release_by_hand(three, "live-c")
    generation = three.generation
    three.rest.post(f"{url}/{ids[0]}/clear", json={"dry_run": False, "only_failed": False}).raise_for_status()
    again = three.ended(ROLLBACK, ids[0])
    assert again.state == "failed"
    assert (three.current, three.generation) == ("live-c", generation)
    assert "a repeated or cleared one moves nothing" in again.entries[-2].reason + again.entries[-1].reason
    assert [run(dag_run_id)["run_after"] for dag_run_id in ids] == asked
