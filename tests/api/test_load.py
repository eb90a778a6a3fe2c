"""Reloads while many ask: no request is lost, and no answer mixes two runs."""

from __future__ import annotations

import json
import os
import signal
import threading

import httpx
from filelock import FileLock

from tests.api.conftest import StartReplica
from tests.api.crowd import Crowd
from tests.api.home import UNKNOWN, Home
from tests.api.replica import Replica, wait_until
from tests.runs import USERS

RELOADS = 20
CALLERS = 4


class Asking(Crowd):
    """Threads that ask without a pause, and keep every answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[str, int, bytes]] = []
        self.errors: list[Exception] = []
        self._url = url
        super().__init__(CALLERS)

    def ask(self, number: int) -> None:
        users = (*USERS, UNKNOWN)
        with httpx.Client(base_url=self._url, trust_env=False, timeout=20.0) as http:
            while not self.over:
                user = users[(number + len(self.answers)) % len(users)]
                try:
                    answer = http.get(f"/recommend/{user}")
                except httpx.HTTPError as error:
                    self.errors.append(error)
                else:
                    self.answers.append((user, answer.status_code, answer.content))

    def wait_for_more(self, count: int) -> None:
        """Wait until ``count`` more answers have come."""
        wanted = len(self.answers) + count
        wait_until("the crowd goes on", lambda: len(self.answers) >= wanted)


def test_reloads_under_load_lose_nothing_and_mix_nothing(replica: Replica) -> None:
    """Each answer is a 200 with the very list of the run that it names; both runs answered."""
    lists = {run_id: replica.home.lists(run_id) for run_id in ("run-a", "run-b")}
    with Asking(replica.url) as crowd:
        crowd.wait_for_more(20)
        for number in range(RELOADS):
            replica.reload(run_id=("run-b", "run-a")[number % 2])
            crowd.wait_for_more(10)
    assert crowd.errors == []
    seen = set()
    for user, status, content in crowd.answers:
        answer = json.loads(content)
        assert (status, answer["variant"], answer["degraded"]) == (200, "current", None)
        assert answer["items"] == lists[answer["run_id"]][user]
        seen.add(answer["run_id"])
    assert seen == {"run-a", "run-b"}


def test_after_the_200_no_answer_is_of_the_old_run(replica: Replica) -> None:
    """Requests that begin after the receipt get the new run, however many are under way."""
    with Asking(replica.url) as crowd:
        crowd.wait_for_more(20)
        for number in range(RELOADS):
            run_id = ("run-b", "run-a")[number % 2]
            replica.reload(run_id=run_id)
            assert {replica.recommend(user)["run_id"] for user in USERS} == {run_id}
    assert crowd.errors == []


def test_sigterm_lets_what_is_under_way_end(start: StartReplica, home: Home) -> None:
    """A reload that waits for the registry's lock is answered in full; then the process is gone."""
    replica = start()
    receipts: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: receipts.append(replica.post("/models/reload", {"run_id": "run-b"})))
    process = replica.process
    assert process is not None
    with FileLock(f"{home.paths.registry}.lock"):
        caller.start()
        wait_until("the reload is under way", lambda: "run-b" in replica.worker.resident)
        os.kill(process.pid, signal.SIGTERM)
        wait_until("it has heard", lambda: "Shutting down" in replica.log)
        assert process.poll() is None
    caller.join(20)
    assert [receipt.status_code for receipt in receipts] == [200]
    assert receipts[0].json()["run_id"] == "run-b"
    assert process.wait(20) in {0, -signal.SIGTERM}
    assert home.current == "run-b"
    assert "Finished server process" in replica.log
    assert "Traceback" not in replica.log


def test_a_stopped_replica_takes_no_new_connection(start: StartReplica) -> None:
    """Whoever balances the load sees at once that it is gone."""
    replica = start()
    url = replica.url
    replica.close()
    with httpx.Client(trust_env=False) as http:
        try:
            http.get(f"{url}/health/live")
        except httpx.ConnectError:
            return
    raise AssertionError("it still answers")
