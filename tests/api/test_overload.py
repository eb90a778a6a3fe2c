"""More to do than can be done: some are refused early, all others are answered in time, and it ends by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from recommendation_api.overload import Overload
from tests.api.conftest import StartReplica
from tests.api.home import UNKNOWN, Home
from tests.api.in_process import Faults, serve
from tests.api.replica import wait_until
from tests.api.test_faulty_models import sample

WAITING = 3  # slow answers that may be under way
LATE = 0.2


def shed(client: httpx.Client, reason: str) -> float:
    return sample(client, f'recommendation_shed_total{{reason="{reason}"}}')


def timeouts(client: httpx.Client) -> float:
    return sample(client, 'recommendation_degraded_total{endpoint="recommend",reason="timeout",variant="current"}')


def check_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["title"]) == (503, "overloaded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"


@contextmanager
def asking(client: httpx.Client, count: int) -> Iterator[list[Future[httpx.Response]]]:
    """Ask ``count`` times at once; all are answered in the end."""
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(client.get, "/recommend/u1") for _ in range(count)]


def in_time(client: httpx.Client) -> None:
    """Whatever is asked beside the hot path is answered."""
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert client.get("/models").json()["workers"][0]["current"] == "run-a"
    assert client.post("/models/reload").status_code == 200


def test_so_many_slow_answers_may_be_under_way_and_no_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, counted and told to come back; the others get their lists; then all is as before."""
    faults = Faults(slow={"run-a"})
    with serve(home, monkeypatch, faults, scoring_waiting=WAITING, scoring_threads=1, scoring_seconds=20) as client:
        faults.hang.add("run-a")
        with asking(client, WAITING + 4) as asked:
            wait_until("the others are refused", lambda: sum(future.done() for future in asked) == 4)
            for future in asked:
                if future.done():
                    check_refused(future.result())
            check_refused(client.get("/similar/i1"))
            assert (shed(client, "busy"), shed(client, "late")) == (5, 0)
            line = 'recommendation_requests_total{endpoint="recommend",status="503",variant="none"}'
            assert sample(client, line) == 4
            in_time(client)
            faults.release.set()
        answers = [future.result() for future in asked if future.result().status_code == 200]
        assert [answer.json()["items"] for answer in answers] == [home.expected("run-a", "u1")] * WAITING
        wait_until("it takes requests", lambda: client.get("/recommend/u1").status_code == 200)


def test_a_slow_answer_that_takes_too_long_is_degraded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Popular items, counted as a timeout; what hangs counts as under way until it ends."""
    faults = Faults(slow={"run-a"})
    with serve(home, monkeypatch, faults, scoring_waiting=2, scoring_threads=1, scoring_seconds=0.05) as client:
        faults.hang.add("run-a")
        for times in (1, 2):  # the second one never gets a thread
            answer = client.get("/recommend/u1").json()
            assert (answer["variant"], answer["degraded"], answer["run_id"]) == ("degraded", "timeout", "run-a")
            assert answer["items"] == home.expected("run-a", UNKNOWN)
            assert timeouts(client) == times
        assert client.get("/similar/i1").json()["items"] == []
        faults.release.set()
        wait_until("it answers", lambda: client.get("/recommend/u1").json()["degraded"] is None)
        assert shed(client, "busy") == 0


def overload() -> Overload:
    return Overload(late_seconds=LATE, threads=1, waiting=1, timeout_seconds=1)


@pytest.mark.parametrize(
    ("lags", "refusal"),
    [
        ([], None),
        ([60.0], None),
        ([60.0, 60.0], None),
        ([LATE * 2] * 3, "late"),
        ([LATE * 2] * 30, "late"),
        ([LATE] * 30, None),
        ([60.0, 60.0, 0.0, 60.0, 60.0], None),
        ([60.0, 60.0, 60.0, LATE], None),
    ],
)
def test_a_loop_that_is_late_three_times_in_a_row_refuses(lags: list[float], refusal: str | None) -> None:
    """One pause, however long, is none; the first time in time ends it."""
    watched = overload()
    for lag in lags:
        watched.measured(lag)
    assert watched.refuse() == refusal


def test_slow_answers_are_counted_however_they_end() -> None:
    """With a result, an error, or nothing in time: afterwards none is under way."""

    async def end_all(watched: Overload) -> None:
        assert await watched.in_thread(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await watched.in_thread(lambda: 1 // 0)
        gate = threading.Event()
        with pytest.raises(TimeoutError):
            await watched.in_thread(lambda: gate.wait(30))
        assert watched.refuse() == "busy"
        gate.set()
        while watched.refuse() is not None:  # noqa: ASYNC110  (it ends in another thread, which tells nobody)
            await asyncio.sleep(0.001)

    watched = Overload(late_seconds=LATE, threads=1, waiting=1, timeout_seconds=0.05)
    asyncio.run(asyncio.wait_for(end_all(watched), 20))
    watched.close()


def test_a_loop_that_really_is_late_refuses_and_recovers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes its time on the loop, and many who ask: some are refused, nobody else is, and it ends."""
    faults = Faults()
    with (
        serve(home, monkeypatch, faults, late_seconds=0.1) as client,
        httpx.Client(
            base_url=client.base_url, trust_env=False, timeout=60, limits=httpx.Limits(max_connections=16)
        ) as crowd,
    ):
        faults.burn_seconds = 0.3
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: crowd.get("/recommend/u1"), range(64)))
            reads = [pool.submit(crowd.get, "/recommend/u1") for _ in range(16)]
            in_time(client)
        answers += [read.result() for read in reads]
        refused = [answer for answer in answers if answer.status_code == 503]
        for answer in refused:
            check_refused(answer)
        given = [answer.json()["items"] for answer in answers if answer.status_code != 503]
        assert refused
        assert given == [home.expected("run-a", "u1")] * len(given)
        assert given
        assert (shed(client, "late"), shed(client, "busy")) == (len(refused), 0)
        faults.burn_seconds = 0.0
        wait_until("it takes requests", lambda: client.get("/recommend/u1").status_code == 200)
        before = shed(client, "late")
        assert {client.get("/recommend/u1").status_code for _ in range(50)} == {200}
        assert shed(client, "late") == before


def test_one_long_pause_refuses_nobody(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A garbage collection, a page from the disk: everybody waits, and is answered."""
    faults = Faults()
    with serve(home, monkeypatch, faults, late_seconds=0.1) as client:
        faults.burn_seconds = 1.0
        with ThreadPoolExecutor(9) as pool:
            first = pool.submit(client.get, "/recommend/u1")
            wait_until("it is busy", lambda: not first.done())
            faults.burn_seconds = 0.0
            others = [pool.submit(client.get, "/recommend/u2") for _ in range(8)]
        assert {future.result().status_code for future in (first, *others)} == {200}
        assert shed(client, "late") == 0


def test_a_replica_that_goes_away_closes_connections_with_their_next_answer(start: StartReplica) -> None:
    """Answers of the hot path, refusals and everything else; until then connections are kept."""
    replica = start(settings={"RECOMMENDATION_API_DRAIN_SECONDS": "30"})
    paths = (
        "/recommend/u1",
        "/similar/i1",
        "/recommend/u1?k=0",
        "/health/live",
        "/health/ready",
        "/models",
        "/metrics",
        "/no",
    )
    assert [path for path in paths if "connection" in replica.http.get(path).headers] == []
    assert replica.process is not None
    replica.process.terminate()
    wait_until("it says so", lambda: not replica.ready)
    for path in paths:
        assert replica.http.get(path).headers["connection"] == "close", path
    refused = replica.post("/models/reload")
    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert refused.json()["title"] == "shutting down"
    replica.process.terminate()
    assert replica.process.wait(20) in {0, -15}
