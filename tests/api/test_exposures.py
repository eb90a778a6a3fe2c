"""A whole replica: every answer is in the log, nobody waits for it, and a crash costs the last second at most."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from model_release.exposures import Exposure
from tests.api.conftest import StartReplica
from tests.api.crowd import Crowd
from tests.api.exposures import files, logged, request_ids
from tests.api.home import UNKNOWN, Home
from tests.api.replica import Replica, wait_until
from tests.runs import USERS

CALLERS = 4


def of(replica: Replica, request_id: str) -> Exposure:
    """Wait for the line of one request."""
    root = replica.home.paths.root
    wait_until(f"{request_id} is in the log", lambda: request_id in request_ids(root))
    (found,) = [record for record in logged(root) if record.request_id == request_id]
    assert isinstance(found, Exposure)
    return found


def test_a_line_says_what_the_answer_said(replica: Replica) -> None:
    """Known and unknown, users and items; under the name that the caller gave or was given."""
    for number, path in enumerate(
        (f"recommend/{USERS[2]}?k=3", f"recommend/{UNKNOWN}", "similar/i1?k=2", "similar/xx")
    ):
        answer = replica.http.get(f"/{path}", headers={"X-Request-Id": f"mine-{number}"})
        assert answer.headers["x-request-id"] == f"mine-{number}"
        line = of(replica, f"mine-{number}")
        said = answer.json()
        assert {name: getattr(line, name) for name in said} == {**said, "items": tuple(said["items"])}
        endpoint, identifier = path.partition("?")[0].split("/")
        assert (line.endpoint, line.id) == (endpoint, identifier)
        assert (line.replica, line.worker, line.generation) == ("replica-1", 0, replica.worker.generation)
        assert (line.release_id, 0 < line.latency_ms < 1000, abs(line.at.timestamp() - time.time()) < 30) == (
            None,
            True,
            True,
        )
    assert [of(replica, f"mine-{number}").k for number in range(4)] == [3, 10, 2, 10]


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "<script>"])
def test_a_request_without_a_usable_name_gets_one(replica: Replica, given: str | None) -> None:
    """Never the one that it brought, and never the same twice."""
    headers = {} if given is None else {"X-Request-Id": given}
    names = [replica.http.get("/recommend/u1", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert len({*names, given}) == 3
    for name in names:
        assert of(replica, name).id == "u1"


def test_a_refused_request_is_no_exposure(replica: Replica) -> None:
    assert replica.http.get("/recommend/u1?k=0", headers={"X-Request-Id": "refused"}).status_code == 422
    replica.http.get("/recommend/u1", headers={"X-Request-Id": "after"})
    of(replica, "after")
    assert "refused" not in request_ids(replica.home.paths.root)


def test_both_sides_of_a_canary_carry_its_release(start: StartReplica) -> None:
    """Whoever joins compares users of one trial with each other."""
    replica = start()
    replica.reload(run_id="run-b", mode="canary", rollout=0.5, release_id="try-1")
    users = [f"visitor-{number}" for number in range(40)]
    for user in users:
        replica.http.get(f"/recommend/{user}", headers={"X-Request-Id": user})
    lines = [of(replica, user) for user in users]
    assert {(line.variant, line.run_id) for line in lines} == {("current", "run-a"), ("candidate", "run-b")}
    assert {line.release_id for line in lines} == {"try-1"}


def test_degraded_answers_are_recorded_as_such(tmp_path: Path) -> None:
    """Without any run too: an empty list was shown."""
    replica = Replica(Home(tmp_path, current=None))
    try:
        replica.start()
        replica.http.get("/recommend/u1", headers={"X-Request-Id": "early"})
        line = of(replica, "early")
    finally:
        replica.close()
    assert (line.run_id, line.variant, line.degraded, line.items) == (None, "degraded", "no_model", ())


def test_metrics_count_what_is_in_the_log(start: StartReplica) -> None:
    replica = start()
    for _ in range(5):
        replica.recommend("u1")
    wait_until(
        "all five are counted", lambda: replica.metric("recommendation_exposures_total", variant="current") == 5.0
    )
    assert len(logged(replica.home.paths.root)) == 5
    assert replica.metric("recommendation_exposures_dropped_total", reason="disk") == 0.0


def test_the_log_may_be_switched_off(start: StartReplica) -> None:
    replica = start(settings={"RECOMMENDATION_API_EXPOSURES": "false"})
    assert "x-request-id" in replica.http.get("/recommend/u1").headers
    replica.close()
    assert not replica.home.paths.exposures.exists()


class Naming(Crowd):
    """Callers that name every request, and keep when each was answered."""

    def __init__(self, url: str, prefix: str) -> None:
        self.answered: dict[str, float] = {}
        self.statuses: set[int] = set()
        self._url = url
        self._names = (f"{prefix}-{number}" for number in itertools.count())
        self._lock = threading.Lock()
        super().__init__(CALLERS)

    def ask(self, _: int) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=20.0) as http:
            while not self.over:
                with self._lock:
                    name = next(self._names)
                try:
                    answer = http.get("/recommend/u1", headers={"X-Request-Id": name})
                except httpx.HTTPError:
                    return  # killed
                with self._lock:
                    self.statuses.add(answer.status_code)
                    self.answered[name] = time.monotonic()

    def older_than_a_second(self) -> set[str]:
        """Return the requests that were answered more than a second ago."""
        now = time.monotonic()
        with self._lock:
            return {name for name, at in self.answered.items() if at < now - 1.0}

    def wait_for_more(self, count: int) -> None:
        wanted = len(self.answered) + count
        wait_until("the crowd goes on", lambda: len(self.answered) >= wanted)


def test_kill_9_costs_the_last_second_at_most(start: StartReplica) -> None:
    """Three crashes under requests: all older answers are there, each line is whole, each process has its own file."""
    replica = start()
    root = replica.home.paths.root
    before: dict[Path, bytes] = {}
    for crash in range(3):
        with Naming(replica.url, f"crash-{crash}") as asking:
            wait_until("some answers are old enough", lambda asking=asking: len(asking.older_than_a_second()) > 20)  # type: ignore[misc]  # bound in the loop
            old = asking.older_than_a_second()
            replica.kill()
        found = request_ids(root)  # every complete line is a valid one
        assert old <= set(found)
        assert len(found) == len(set(found))
        assert len(files(root)) == crash + 1
        assert {path: path.read_bytes() for path in before} == before
        before = {path: path.read_bytes() for path in files(root)}
        replica.start_ready()


def test_a_stopped_replica_has_written_everything(start: StartReplica) -> None:
    """SIGTERM loses nothing."""
    replica = start()
    with Naming(replica.url, "stop") as asking:
        asking.wait_for_more(50)
    replica.close()
    assert set(asking.answered) <= set(request_ids(replica.home.paths.root))


def test_a_full_disk_fails_no_request(start: StartReplica) -> None:
    """No file may grow any more: requests go on, what does not fit is counted, and then writing goes on by itself."""
    replica = start(settings={"RECOMMENDATION_API_EXPOSURE_QUEUE": "50"})
    root = replica.home.paths.root
    process = replica.process
    assert isinstance(process, subprocess.Popen)
    unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)

    def dropped() -> float:
        return replica.metric("recommendation_exposures_dropped_total", reason="disk")

    with Naming(replica.url, "full") as asking:
        asking.wait_for_more(20)
        wait_until("the log has begun", lambda: len(logged(root)) > 0)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
        wait_until("records are dropped", lambda: dropped() > 0)
        asking.wait_for_more(50)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
        before = set(asking.answered)

        def heals() -> bool:
            return bool(set(request_ids(root)) - before - {None})

        wait_until("later answers are in the log", heals)
    replica.close()
    assert asking.statuses == {200}
    found = set(request_ids(root))
    missing = set(asking.answered) - found
    assert missing
    for path in files(root):
        assert path.read_bytes().endswith(b"\n")
        for line in path.read_bytes().splitlines():
            assert json.loads(line)["schema_version"] == 1
