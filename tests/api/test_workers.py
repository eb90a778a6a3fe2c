"""Several worker processes behind one port: whatever one of them is asked for is true for all."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model_release.adapters import ranked_lists
from model_release.adapters.run_store import RunStore
from model_release.artifact import GOLDEN_NAME, ServingFormat
from model_release.contract import LEASE_PATH
from model_release.paths import ReleasePaths
from tests.api.conftest import StartReplica
from tests.api.home import Home
from tests.api.replica import Replica, sample_of, wait_until
from tests.api.workers import FreshCrowd, complete, connected, memory_kib, open_files, worker_of, workers
from tests.runs import USERS, manifest_of, write_golden

MANY = [f"customer-{number}" for number in range(60)]
LARGE_BYTES = 80_000_000
COUNTED = {"endpoint": "recommend", "variant": "current", "status": "200"}


@pytest.fixture(scope="module")
def shared_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(Home(tmp_path_factory.mktemp("home")), settings={"RECOMMENDATION_API_WORKERS": "3"})
    try:
        replica.start_ready()
        wait_until("all workers are there", lambda: complete(replica))
        yield replica
    finally:
        replica.close()


@pytest.fixture
def three(shared_three: Replica) -> Replica:
    """The module's replica of three workers, serving ``run-a`` with no run on trial."""
    shared_three.reload(run_id="run-a")
    wait_until("all workers are there", lambda: complete(shared_three, "run-a"))
    return shared_three


def test_a_reload_reaches_every_worker(three: Replica) -> None:
    """The receipt counts them, ``GET /models`` shows them at one generation, and each one answers with the new run."""
    for run_id in ("run-b", "run-c", "run-a"):
        receipt = three.reload(run_id=run_id)
        reports = workers(three)
        assert (receipt["workers"], len(reports)) == (3, 3)
        assert {(report.generation, report.current) for report in reports.values()} == {(receipt["generation"], run_id)}
        for pid in reports:
            with connected(three, pid) as http:
                answer = http.get(f"/recommend/{USERS[1]}")
                assert worker_of(answer) == pid
                assert answer.json()["run_id"] == run_id
                assert answer.json()["items"] == three.home.expected(run_id, USERS[1])


def test_after_the_200_new_connections_get_the_new_run_whichever_worker_takes_them(three: Replica) -> None:
    """Not one answer of the old run to a request that was sent after the receipt was there."""
    pids = list(workers(three))
    with FreshCrowd(three) as crowd:
        for number in range(10):
            run_id = ("run-b", "run-c")[number % 2]
            three.reload(run_id=run_id)
            received = time.monotonic()
            crowd.wait_for(20, pids=pids if number == 0 else ())
            reload_again = time.monotonic()
            later = [asked for asked in crowd.since(received) if asked.sent < reload_again]
            assert len(later) >= 20
            assert {asked.run_id for asked in later} == {run_id}
    assert {(asked.outcome, asked.status) for asked in crowd.asked} == {("answered", 200)}


def test_a_run_that_one_worker_cannot_load_is_served_by_none(three: Replica) -> None:
    """That worker's memory is limited: the answer names it and says why, and a retry goes well."""
    publish_large(three.home.paths, "run-large")
    before = three.home.generation
    broken, asked, _ = workers(three)
    with connected(three, asked) as http:
        limits = resource.prlimit(broken, resource.RLIMIT_AS)
        resource.prlimit(broken, resource.RLIMIT_AS, (address_space(broken) + LARGE_BYTES // 2, limits[1]))
        try:
            answer = http.post("/models/reload", json={"run_id": "run-large"})
        finally:
            resource.prlimit(broken, resource.RLIMIT_AS, limits)
        assert answer.status_code in {424, 503}, answer.text
        assert f"worker {broken}" in answer.text or f"worker {slot_of(broken)}" in answer.text
        assert "Cannot allocate memory" in answer.text
    assert (three.home.generation, three.home.current) == (before, "run-a")
    assert {report.current for report in workers(three).values()} == {"run-a"}
    assert three.serves("run-a")
    assert three.reload(run_id="run-large")["workers"] == 3


def publish_large(paths: ReleasePaths, run_id: str) -> None:
    """Publish a run whose lists have ``LARGE_BYTES``."""
    store, depth = RunStore(paths), 1000
    users = [f"user-{number}" for number in range(LARGE_BYTES // depth // 4)]
    with store.staging(run_id) as folder:
        ranked_lists.write(
            folder,
            user_ids=users,
            item_ids=["i1", "i2"],
            user_lists=np.zeros((len(users), depth), np.int32),
            similar_lists=np.array([[1], [0]], np.int32),
            popular=np.array([0, 1], np.int32),
        )
        write_golden(folder / GOLDEN_NAME, ranked_lists.RankedLists(folder), users[:1])
        store.publish(manifest_of(run_id, ServingFormat(format="ranked_lists"), store.entries(folder)))


def address_space(pid: int) -> int:
    """Return the address space of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def slot_of(pid: int) -> int:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return int(words[words.index(b"--slot") + 1])


def test_a_run_that_no_worker_can_load_is_refused_with_the_reason_of_each(three: Replica) -> None:
    """424, with the process ids; nothing is committed."""
    three.home.publish_with_wrong_golden("run-wrong")
    before = three.home.generation
    text = three.refuse(424, run_id="run-wrong")
    assert "3 of 3 workers" in text
    assert all(f"worker {pid}" in text for pid in workers(three))
    assert three.home.generation == before
    assert three.serves("run-a")


def test_a_canary_is_the_same_users_in_every_worker(three: Replica) -> None:
    """Drawn from user and release alone: nobody's lists flap between workers."""
    three.reload(run_id="run-b", mode="canary", rollout=0.5, release_id="canary-workers")
    drawn = []
    for pid in workers(three):
        with connected(three, pid) as http:
            answers = [http.get(f"/recommend/{user}") for user in MANY]
        assert {worker_of(answer) for answer in answers} == {pid}
        drawn.append([answer.json()["variant"] for answer in answers])
    assert drawn[0] == drawn[1] == drawn[2]
    assert set(drawn[0]) == {"current", "candidate"}


def test_a_renewed_lease_reaches_every_worker(three: Replica) -> None:
    """Each of them knows the new end; the generation stays."""
    receipt = three.reload(run_id="run-b", mode="canary", rollout=1.0, release_id="lease-w", lease_seconds=600)
    body = {"release_id": "lease-w", "generation": receipt["generation"], "lease_seconds": 7200}
    answer = three.post(LEASE_PATH, body)
    assert answer.status_code == 200, answer.text
    trials = [report.candidate for report in workers(three).values()]
    ends = {trial.lease_until.isoformat().replace("+00:00", "Z") for trial in trials if trial and trial.lease_until}
    assert (len(trials), ends) == (3, {answer.json()["lease_until"]})
    assert {report.generation for report in workers(three).values()} == {receipt["generation"]}


def test_a_lease_that_runs_out_ends_the_trial_in_every_worker(three: Replica) -> None:
    """Whichever of them notices; all users get the current run, and the ledger has it once."""
    three.reload(run_id="run-b", mode="canary", rollout=1.0, release_id="lease-x", lease_seconds=1)
    wait_until("the registry says so", lambda: three.home.registry.read().candidate is None)
    wait_until("the workers say so", lambda: {r.generation for r in workers(three).values()} == {three.home.generation})
    for pid, report in workers(three).items():
        assert report.candidate is None
        with connected(three, pid) as http:
            assert http.get(f"/recommend/{USERS[0]}").json()["variant"] == "current"
    assert three.home.events("lease-x").count("trial_ended") == 1


def test_metrics_are_those_of_all_workers_whichever_is_asked(three: Replica) -> None:
    """What each of them counted adds up, and the gauges count workers."""
    before, sent = three.metric("recommendation_requests_total", **COUNTED), 0
    for number, pid in enumerate(workers(three), 1):
        with connected(three, pid) as http:  # has asked once
            for user in MANY[: 5 * number]:
                assert http.get(f"/recommend/{user}").status_code == 200
            sent += 1 + 5 * number
            assert sample_of(http.get("/metrics").text, "recommendation_requests_total", COUNTED) == before + sent
    assert three.metric("recommendation_workers", state="serving") == 3
    assert three.metric("recommendation_model_info", run_id="run-a", slot="current") == 3


def test_the_watcher_heals_all_workers(three: Replica) -> None:
    """Somebody commits and tells nobody: every worker arrives at it."""
    registry = three.home.commit("run-c")
    wait_until("all follow", lambda: complete(three, "run-c"))
    assert {report.generation for report in workers(three).values()} == {registry.generation}
    assert three.serves("run-c")


def test_one_call_by_hand_moves_two_replicas_of_two_workers(start: StartReplica, home: Home) -> None:
    """The one that is asked at once, the other by its watcher; no worker stays behind."""
    settings = {"RECOMMENDATION_API_WORKERS": "2"}
    one, two = start("replica-1", settings=settings), start("replica-2", settings=settings)
    for replica in (one, two):
        wait_until("all workers are there", partial(complete, replica, "run-a"))
    receipt = one.reload(run_id="run-b", release_id="both")
    assert receipt["workers"] == 2
    wait_until("the other follows", lambda: complete(two, "run-b"))
    generations = {report.generation for replica in (one, two) for report in workers(replica).values()}
    assert generations == {receipt["generation"]} == {home.generation}
    assert one.serves("run-b")
    assert two.serves("run-b")


@pytest.mark.slow
def test_hundreds_of_reloads_leave_files_and_memory_where_they_were(three: Replica) -> None:
    """300 switches among three runs, of which two are kept: each has to be loaded anew, and let go."""

    def switch(times: int) -> None:
        for number in range(times):
            assert three.reload(run_id=("run-b", "run-c", "run-a")[number % 3])["workers"] == 3

    switch(30)
    before = {pid: (open_files(pid), memory_kib(pid)) for pid in workers(three)}
    switch(300)
    for pid, (files, kib) in before.items():
        assert open_files(pid) <= files + 10
        assert memory_kib(pid) <= kib + 16 * 1024
