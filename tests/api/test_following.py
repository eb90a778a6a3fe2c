"""A replica serves what the registry desires now: told or not, restarted or killed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.api.conftest import StartReplica
from tests.api.home import Home
from tests.api.replica import Replica, wait_until


def test_a_replica_follows_a_commit_that_nobody_told_it_of(replica: Replica) -> None:
    """A task that died between COMMIT and SWITCH is healed by the watcher, for releases and rollbacks."""
    replica.home.commit("run-b")
    wait_until("the watcher serves run-b", lambda: replica.serves("run-b"))
    replica.home.commit("run-a")
    wait_until("the watcher serves run-a", lambda: replica.serves("run-a"))
    assert replica.worker.generation == replica.home.generation


def test_one_call_by_hand_moves_the_whole_fleet(start: StartReplica, home: Home) -> None:
    """The replica that is called commits; the other one follows by watching."""
    one, two = start("replica-1"), start("replica-2")
    receipt = one.reload(run_id="run-b")
    assert one.serves("run-b")
    wait_until("the other replica follows", lambda: two.serves("run-b"))
    assert two.worker.generation == receipt["generation"] == home.generation
    assert two.models().desired == one.models().desired
    assert [replica.models().replica for replica in (one, two)] == ["replica-1", "replica-2"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restarted_replica_serves_what_is_desired_now(start: StartReplica, home: Home, how: str) -> None:
    """Not what it served when it went away; and never says ready while it serves something else."""
    replica = start()
    assert replica.serves("run-a")
    first = replica.worker.pid
    if how == "kill":
        replica.kill()
    else:
        replica.close()
    home.commit("run-b")
    home.commit("run-c")
    replica.start()

    def ready() -> bool:
        said = replica.ready
        assert not said or replica.serves("run-c")
        return said

    wait_until("the replica is ready", ready)
    assert replica.worker.pid != first
    assert replica.worker.generation == home.generation


def test_a_replica_is_not_ready_before_it_has_loaded(home: Home) -> None:
    """While the registry can't be read to its end it lives, says 503 and why, and answers degraded."""
    path = home.paths.registry
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)  # whoever reads it waits for a writer
    replica = Replica(home)
    try:
        replica.start()
        assert replica.http.get("/health/live").status_code == 200
        answer = replica.http.get("/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, "loading what is desired")
        assert replica.recommend("u1")["degraded"] == "no_model"
        release(path, content)
        wait_until("the replica is ready", lambda: replica.ready)
        assert replica.serves("run-a")
    finally:
        release(path, content)
        replica.close()


def release(path: Path, content: bytes) -> None:
    """Let whoever reads the pipe read ``content``, and leave a file in its place."""
    if not path.is_fifo():
        return
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that a writer never waits
    with path.open("wb", buffering=0) as pipe:
        beside = path.with_name("beside")
        beside.write_bytes(content)
        beside.replace(path)
        pipe.write(content)
        os.close(reader)


def test_two_calls_at_once_end_in_one_state(replica: Replica) -> None:
    """Whichever comes last is served, by registry, worker and lists alike."""
    receipts: list[int] = []

    def call(run_id: str) -> None:
        receipts.append(replica.reload(run_id=run_id)["generation"])

    threads = [threading.Thread(target=call, args=(run_id,)) for run_id in ("run-b", "run-c") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == len(threads)
    assert replica.home.current in {"run-b", "run-c"}
    assert replica.serves(str(replica.home.current))
    assert replica.worker.generation == replica.home.generation == max(receipts)


def test_the_report_shows_desired_and_observed_state(replica: Replica) -> None:
    """What "converged" is computed from: process, generation, runs in memory, time."""
    report = replica.models()
    registry = replica.home.registry.read()
    assert (report.replica, report.problem, report.workers_expected) == ("replica-1", None, 1)
    assert report.desired is not None
    assert (report.desired.generation, report.desired.current) == (registry.generation, "run-a")
    worker = replica.worker
    assert replica.process is not None
    assert (worker.pid, worker.generation, worker.current) == (replica.process.pid, registry.generation, "run-a")
    assert worker.resident[0] == "run-a"
    assert worker.loaded_at is not None
    assert worker.loaded_at <= report.reported_at
