"""No usable run: the shop still gets an answer, which says what it is, and the replica says that it is not ready."""

from __future__ import annotations

import os
import signal

import pytest

from tests.api.conftest import StartReplica
from tests.api.home import UNKNOWN, Home, alter_a_byte
from tests.api.replica import Replica, wait_until


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Runs are published, none is current."""
    return Home(tmp_path_factory.mktemp("empty"), current=None)


def degraded(replica: Replica, endpoint: str = "recommend", reason: str = "no_model") -> float:
    return replica.metric("recommendation_degraded_total", endpoint=endpoint, variant="current", reason=reason)


def test_before_the_first_release_answers_are_degraded_and_empty(start: StartReplica) -> None:
    """Status 200, ``no_model``, no run named; each one is counted; not ready; the first release ends it."""
    replica = start(ready=False)
    wait_until("it has looked", lambda: replica.http.get("/health/ready").json()["detail"] == "no run is current yet")
    assert replica.http.get("/health/ready").status_code == 503
    assert (degraded(replica), degraded(replica, "similar")) == (0, 0)
    nothing: dict[str, object] = {
        "run_id": None,
        "variant": "degraded",
        "items": [],
        "known": False,
        "degraded": "no_model",
    }
    assert replica.recommend("u1") == nothing
    assert replica.recommend(UNKNOWN) == nothing
    assert replica.http.get("/similar/i1").json() == nothing
    assert (degraded(replica), degraded(replica, "similar")) == (2, 1)
    assert replica.metric("recommendation_empty_total", endpoint="recommend", variant="current") == 2
    replica.reload(run_id="run-a")
    assert replica.serves("run-a")
    assert replica.ready
    assert degraded(replica) == 2


def test_nothing_can_be_tried_before_the_first_release(start: StartReplica) -> None:
    """A trial compares with a current run."""
    replica = start(ready=False)
    assert "no run is current yet" in replica.refuse(422, run_id="run-b", mode="shadow", rollout=0.1)


def test_a_run_that_broke_while_nobody_ran_gives_popular_items_of_the_one_before(
    start: StartReplica, home: Home
) -> None:
    """Degraded, counted, reported and not ready; a rollback by name heals it."""
    home.commit("run-a")
    home.commit("run-b")
    alter_a_byte(home.runs.folder("run-b") / "user_lists.npy")
    replica = start(ready=False)
    wait_until("it has looked", lambda: "user_lists.npy" in replica.http.get("/health/ready").text)
    assert replica.http.get("/health/ready").status_code == 503
    worker = replica.worker
    assert worker.current is None
    assert worker.degraded is not None
    assert "user_lists.npy" in worker.degraded
    answer = replica.recommend("u1")
    assert (answer["variant"], answer["degraded"], answer["run_id"]) == ("degraded", "no_model", None)
    assert answer["items"] == home.expected("run-a", UNKNOWN)
    assert replica.recommend("u1", k=2)["items"] == answer["items"][:2]
    assert degraded(replica) == 2
    replica.refuse(424)
    replica.reload(run_id="run-a")
    assert replica.serves("run-a")
    assert replica.ready


def test_a_replica_serves_the_run_again_when_its_files_are_whole(start: StartReplica, home: Home) -> None:
    """No call is needed: the watcher tries again."""
    home.commit("run-a")
    path = home.runs.folder("run-a") / "popular.npy"
    content = path.read_bytes()
    alter_a_byte(path)
    replica = start(ready=False)
    wait_until("it has looked", lambda: "popular.npy" in replica.http.get("/health/ready").text)
    path.write_bytes(content)
    wait_until("it is ready", lambda: replica.ready)
    assert replica.serves("run-a")


def test_a_broken_candidate_does_not_take_the_current_run_along(start: StartReplica, home: Home) -> None:
    """A replica that starts while a damaged run is on trial serves the current run, and reports the trial as missing."""
    home.commit("run-a")
    home.commit("run-b", mode="canary", rollout_share=1.0)
    alter_a_byte(home.runs.folder("run-b") / "user_lists.npy")
    replica = start()
    assert replica.serves("run-a")
    worker = replica.worker
    assert (worker.current, worker.candidate) == ("run-a", None)
    assert worker.degraded is not None
    assert "user_lists.npy" in worker.degraded


def test_a_broken_candidate_does_not_hold_a_new_current_run_back(start: StartReplica, home: Home) -> None:
    """Both come at once: the current run is served, the trial is reported as missing."""
    home.commit("run-a")
    replica = start()
    assert replica.serves("run-a")
    alter_a_byte(home.runs.folder("run-c") / "user_lists.npy")
    pid = replica.worker.pid
    os.kill(pid, signal.SIGSTOP)  # it sees none of the two alone
    home.commit("run-b")
    home.commit("run-c", mode="canary", rollout_share=1.0)
    os.kill(pid, signal.SIGCONT)
    wait_until("it serves the new run", lambda: replica.worker.current == "run-b")
    assert replica.serves("run-b")
    assert replica.worker.candidate is None
    assert replica.worker.degraded is not None
