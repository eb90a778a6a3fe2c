"""Workers that die, hang or can't begin: what is served stays one state, and nobody who asks is sent to them."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from filelock import FileLock

from recommendation_api.process import listen
from recommendation_api.shadow_counts import KEPT_PAIRS, MOST_PAIRS
from recommendation_api.shadow_families import OUTCOMES
from tests.api.conftest import StartReplica
from tests.api.home import Home, alter_a_byte
from tests.api.replica import Replica, sample_of, wait_until
from tests.api.workers import FreshCrowd, complete, connected, gone, stopped, worker_of, workers
from tests.runs import USERS

MANY = [f"customer-{number}" for number in range(60)]
COUNTED = {"endpoint": "recommend", "variant": "current", "status": "200"}


def started(start: StartReplica, count: int, **settings: str) -> Replica:
    """Start a replica of ``count`` workers, and wait for all of them."""
    replica = start(settings={"RECOMMENDATION_API_WORKERS": str(count), **settings})
    wait_until("all workers are there", lambda: complete(replica))
    return replica


def kill_one(replica: Replica) -> int:
    """Kill a worker; return which."""
    pid = next(iter(workers(replica)))
    os.kill(pid, signal.SIGKILL)
    wait_until("it has ended", lambda: gone(pid))
    return pid


def replaced(replica: Replica, dead: int, run_id: str) -> bool:
    return dead not in workers(replica) and complete(replica, run_id)


def test_a_killed_worker_is_replaced_by_one_that_serves_what_is_desired_now(start: StartReplica, home: Home) -> None:
    """The registry moves on while it is dead; its successor's first answer is of the new run, never of the old one."""
    replica = started(start, 3)
    before = set(workers(replica))
    process = replica.process
    assert process is not None
    with FreshCrowd(replica) as crowd:
        with stopped([process.pid]):  # nobody replaces it meanwhile
            dead = kill_one(replica)
            home.commit("run-b")
            wait_until("the others follow", lambda: {r.current for r in workers(replica).values()} == {"run-b"})
            assert len(workers(replica)) == 2
        wait_until("it is replaced", lambda: replaced(replica, dead, "run-b"))
        (new,) = set(workers(replica)) - before
        crowd.wait_for(20, pids=[new])
    assert {asked.run_id for asked in crowd.asked if asked.pid == new} == {"run-b"}
    assert {asked.outcome for asked in crowd.asked if asked.pid != dead} <= {"answered", "lost"}
    assert [asked for asked in crowd.asked if asked.outcome == "refused"] == []


def test_when_the_supervisor_is_killed_its_workers_end_and_the_port_is_free(start: StartReplica) -> None:
    """No worker stays behind that nobody would replace; whoever starts the replica anew can listen again."""
    replica = started(start, 2)
    pids = list(workers(replica))
    port = httpx.URL(replica.url).port
    assert port is not None
    replica.kill()
    wait_until("the workers have ended", lambda: all(gone(pid) for pid in pids))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize(("state", "after"), [("registry", "run-a"), ("ledger", "run-b")])
def test_a_worker_that_dies_amid_a_reload_leaves_one_state(
    start: StartReplica, home: Home, state: str, after: str
) -> None:
    """Before the commit nothing has changed; after it the others finish what it began. The next call works."""
    replica = started(start, 3)
    path = {"registry": home.paths.registry, "ledger": home.paths.ledger}[state]
    coordinator = next(iter(workers(replica)))
    outcomes: list[httpx.Response | Exception] = []

    def call(http: httpx.Client) -> None:
        try:
            outcomes.append(http.post("/models/reload", json={"run_id": "run-b"}))
        except httpx.HTTPError as error:
            outcomes.append(error)

    for run_id in ("run-b", "run-a"):  # so that the next entry in the ledger is the commit
        replica.reload(run_id=run_id)
    with connected(replica, coordinator) as http:
        with FileLock(f"{path}.lock"):
            caller = threading.Thread(target=call, args=(http,))
            caller.start()
            wait_until("all are prepared", lambda: all("run-b" in r.resident for r in workers(replica).values()))
            if state == "ledger":
                wait_until("it has committed", lambda: home.current == "run-b")
            os.kill(coordinator, signal.SIGKILL)
        caller.join(20)
    assert [type(outcome) for outcome in outcomes] in ([httpx.ReadError], [httpx.RemoteProtocolError])
    wait_until("one state, and a successor", lambda: replaced(replica, coordinator, after))
    assert home.current == after
    receipt = replica.reload(run_id="run-c")
    assert receipt["workers"] == 3
    assert complete(replica, "run-c")
    assert replica.serves("run-c")


def test_a_worker_that_hangs_is_found_killed_and_replaced(start: StartReplica, home: Home) -> None:
    """A reload meanwhile answers 503 "worker lost" and changes nothing; a retry goes well."""
    replica = started(start, 2, RECOMMENDATION_API_HUNG_SECONDS="1")
    hung, asked = workers(replica)
    with connected(replica, asked) as http:
        os.kill(hung, signal.SIGSTOP)
        answer = http.post("/models/reload", json={"run_id": "run-b", "release_id": "try"})
        assert answer.status_code == 503, answer.text
        assert answer.json()["title"] == "worker lost"
        assert answer.headers["retry-after"] == "1"
        assert home.current == "run-a"
    wait_until("it is replaced", lambda: replaced(replica, hung, "run-a"))
    assert "is replaced" in replica.log
    assert replica.reload(run_id="run-b", release_id="try")["workers"] == 2
    assert complete(replica, "run-b")


def test_the_report_does_not_wait_long_for_a_worker_that_hangs(start: StartReplica) -> None:
    """It is missing from ``GET /models``, so that nobody takes the replica for complete; ``GET /metrics`` says so too."""
    replica = started(start, 2)
    hung, asked = workers(replica)
    with connected(replica, asked) as http, stopped([hung]):
        http.timeout = httpx.Timeout(8.0)  # Prometheus waits 10
        report = http.get("/models").json()
        assert ([worker["pid"] for worker in report["workers"]], report["workers_expected"]) == ([asked], 2)
        assert 'recommendation_workers{state="serving"} 1.0' in http.get("/metrics").text


@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_a_trial_survives_the_restart_of_a_worker(start: StartReplica, home: Home, mode: str) -> None:
    """The successor knows the trial; in a canary the same users get the candidate from it."""
    replica = started(start, 2)
    replica.reload(run_id="run-b", mode=mode, rollout=0.5, release_id="trial", lease_seconds=600)
    variants = {user: replica.recommend(user)["variant"] for user in MANY}
    desired = home.registry.read().candidate
    assert desired is not None
    dead = kill_one(replica)
    wait_until("it is replaced", lambda: replaced(replica, dead, "run-a"))
    for pid, report in workers(replica).items():
        assert report.candidate is not None
        assert (report.candidate.run_id, report.candidate.mode, report.candidate.release_id) == ("run-b", mode, "trial")
        assert report.candidate.lease_until == desired.lease_until
        with connected(replica, pid) as http:
            assert {user: http.get(f"/recommend/{user}").json()["variant"] for user in MANY} == variants
    assert set(variants.values()) == ({"current", "candidate"} if mode == "canary" else {"current"})


def test_a_dead_worker_s_counts_stay(start: StartReplica) -> None:
    """Counters never go back, however often a worker is replaced, and their files do not pile up."""
    replica = started(start, 2)
    first, _ = workers(replica)
    with connected(replica, first) as http:
        for user in MANY:
            assert http.get(f"/recommend/{user}").status_code == 200
    counted = replica.metric("recommendation_requests_total", **COUNTED)
    assert counted == len(MANY) + 1
    for number in range(3):
        dead = kill_one(replica)
        wait_until("it is replaced", partial(replaced, replica, dead, "run-a"))
        assert replica.metric("recommendation_requests_total", **COUNTED) == counted + number
        replica.recommend(USERS[0])
    assert shared_files(replica, "metrics") <= {
        f"{kind}_{slot}.db" for kind in ("counter", "histogram") for slot in (0, 1)
    }


def test_a_dead_worker_s_counts_of_a_shadow_trial_stay(start: StartReplica) -> None:
    """Of each request that was drawn one outcome, also when both who counted them are gone."""
    replica = started(start, 2)
    replica.reload(run_id="run-b", mode="shadow", rollout=1.0, release_id="trial", lease_seconds=600)

    def drawn() -> float:
        text = replica.http.get("/metrics").text
        labels = {"current": "run-a", "candidate": "run-b"}
        return sum(
            sample_of(text, "recommendation_shadow_requests_total", {**labels, "outcome": outcome})
            for outcome in OUTCOMES
        )

    for pid in workers(replica):
        with connected(replica, pid) as http:
            for user in MANY:
                assert http.get(f"/recommend/{user}").status_code == 200
    asked = 2 * (len(MANY) + 1)  # who is connected has asked once
    wait_until("all are counted", lambda: drawn() == asked)
    for number in range(3):
        dead = kill_one(replica)
        wait_until("it is replaced", partial(replaced, replica, dead, "run-a"))
        assert drawn() == asked + number
        replica.recommend(USERS[0])
        wait_until("it is counted", lambda: drawn() == asked + number + 1)  # noqa: B023  (it waits here)
    assert shared_files(replica, "shadow") == {"0~run-a~run-b", "1~run-a~run-b"}


def test_trials_of_the_past_leave_nothing_in_a_worker(start: StartReplica, home: Home) -> None:
    """Neither in the files that the workers share nor in those of the client library, which forgets nothing."""
    replica = started(start, 2)
    for number in range(KEPT_PAIRS + 2):
        home.publish(f"try-{number}")
        replica.reload(run_id=f"try-{number}", mode="shadow", rollout=1.0, release_id=f"try-{number}")
        wait_until("both take part", partial(both_know, replica, f"try-{number}"))
    kept = {f"{slot}~run-a~try-{number}" for slot in (0, 1) for number in range(2, KEPT_PAIRS + 2)}
    assert shared_files(replica, "shadow") == kept
    for path in shared_folder(replica).glob("metrics/*"):
        assert b"try-" not in path.read_bytes()
    shown = set(re.findall(r'candidate="(try-\d+)"', replica.http.get("/metrics").text))
    assert shown == {f"try-{number}" for number in range(KEPT_PAIRS + 2 - MOST_PAIRS, KEPT_PAIRS + 2)}


def both_know(replica: Replica, candidate: str) -> bool:
    return {f"{slot}~run-a~{candidate}" for slot in (0, 1)} <= shared_files(replica, "shadow")


def shared_folder(replica: Replica) -> Path:
    pid = next(iter(workers(replica)))
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return Path(os.fsdecode(words[words.index(b"--folder") + 1]))


def shared_files(replica: Replica, folder: str) -> set[str]:
    return {path.name for path in (shared_folder(replica) / folder).iterdir()}


def test_a_newborn_that_cannot_load_what_is_desired_stays_outside(start: StartReplica, home: Home) -> None:
    """As long as another worker answers from memory, nobody gets a degraded answer; repaired files let it in."""
    replica = started(start, 2)
    damaged = home.runs.folder("run-a") / "user_lists.npy"
    kept = damaged.read_bytes()
    alter_a_byte(damaged)
    with FreshCrowd(replica) as crowd:
        dead = kill_one(replica)
        wait_until("a successor has tried", lambda: "can't serve what is desired yet" in replica.log)
        (survivor,) = [pid for pid, report in workers(replica).items() if report.current is not None]
        moment = time.monotonic()
        crowd.wait_for(50)
        later = crowd.since(moment)
        damaged.write_bytes(kept)
        wait_until("the successor is let in", lambda: replaced(replica, dead, "run-a"))
        crowd.wait_for(20, pids=list(workers(replica)))
    assert {asked.pid for asked in later if asked.outcome == "answered"} == {survivor}
    answered = [asked for asked in crowd.asked if asked.outcome == "answered"]
    assert {(asked.status, asked.degraded) for asked in answered} == {(200, None)}
    assert {asked.outcome for asked in later} == {"answered"}
    assert worker_of(replica.http.get(f"/recommend/{USERS[0]}")) in workers(replica)


def test_sigterm_under_load_loses_no_request(start: StartReplica) -> None:
    """Whoever got a connection gets an answer; after that connections are refused, not broken."""
    replica = started(start, 2, RECOMMENDATION_API_DRAIN_SECONDS="0.3")
    process = replica.process
    assert process is not None
    with FreshCrowd(replica, threads=8) as crowd:
        crowd.wait_for(100)
        process.terminate()
        wait_until(
            "nobody listens", lambda: any(asked.outcome == "refused" for asked in tuple(crowd.asked)), seconds=30
        )
    outcomes = [asked.outcome for asked in crowd.asked]
    assert outcomes.count("lost") == 0
    assert {asked.status for asked in crowd.asked if asked.outcome == "answered"} == {200}
    assert process.wait(30) == 0
    assert "Traceback" not in replica.log
