"""Whatever a model does, users get an answer, and what is wrong is counted."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.api.home import UNKNOWN, Home
from tests.api.in_process import Faults, serve
from tests.api.replica import wait_until

PAIR = 'candidate="run-b",current="run-a"'  # prometheus_client sorts labels


def sample(client: httpx.Client, line: str) -> float:
    """Return the value of one line of the metrics."""
    found = [text for text in client.get("/metrics").text.splitlines() if text.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def outcome(client: httpx.Client, name: str) -> float:
    return shadow(client, "requests_total", f',outcome="{name}"')


def shadow(client: httpx.Client, name: str, more: str = "") -> float:
    """Return a shadow metric of the pair that these tests try."""
    return sample(client, f"recommendation_shadow_{name}{{{PAIR}{more}}}")


def test_a_current_run_that_fails_gives_popular_items(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """200, degraded with the reason, counted; similar items have no stand-in; it is over when the model works."""
    faults = Faults()
    with serve(home, monkeypatch, faults) as client:
        faults.fail.add("run-a")
        answer = client.get("/recommend/u1").json()
        assert answer == {
            "run_id": "run-a",
            "variant": "degraded",
            "items": home.expected("run-a", UNKNOWN),
            "known": False,
            "degraded": "model_error",
        }
        assert client.get("/similar/i1").json()["items"] == []
        for endpoint in ("recommend", "similar"):
            line = f'recommendation_degraded_total{{endpoint="{endpoint}",reason="model_error",variant="current"}}'
            assert sample(client, line) == 1
        faults.fail.clear()
        assert client.get("/recommend/u1").json()["items"] == home.expected("run-a", "u1")


def test_a_canary_that_fails_gives_its_users_popular_items(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted as degraded: the gate sees it."""
    home.commit("run-b", mode="canary", rollout_share=1.0)
    faults = Faults()
    with serve(home, monkeypatch, faults) as client:
        assert client.get("/recommend/u1").json()["variant"] == "candidate"
        faults.fail.add("run-b")
        answer = client.get("/recommend/u1").json()
        assert (answer["variant"], answer["degraded"]) == ("degraded", "model_error")
        assert answer["items"] == home.expected("run-a", UNKNOWN)
        assert (
            sample(
                client, 'recommendation_degraded_total{endpoint="recommend",reason="model_error",variant="candidate"}'
            )
            == 1
        )


def test_a_shadow_that_fails_harms_no_answer(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user gets the current run's list; failures are counted, and the thread goes on."""
    home.commit("run-b", mode="shadow", rollout_share=1.0)
    faults = Faults()
    with serve(home, monkeypatch, faults) as client:
        faults.fail.add("run-b")

        def ask_until(name: str) -> bool:
            assert client.get("/recommend/u1").json()["items"] == home.expected("run-a", "u1")
            return outcome(client, name) >= 1

        wait_until("failures are counted", lambda: ask_until("failed"))
        assert outcome(client, "scored") == 0
        assert (
            sample(client, 'recommendation_degraded_total{endpoint="recommend",reason="model_error",variant="current"}')
            == 0
        )
        faults.fail.clear()
        wait_until("the thread goes on", lambda: ask_until("scored"))


def test_a_shadow_that_hangs_harms_no_answer(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers do not wait; what does not fit into the queue is dropped and counted."""
    home.commit("run-b", mode="shadow", rollout_share=1.0)
    faults = Faults()
    with serve(home, monkeypatch, faults, shadow_queue=2) as client:
        faults.hang.add("run-b")

        def ask() -> bool:
            answer = client.get("/recommend/u1").json()
            assert (answer["run_id"], answer["items"]) == ("run-a", home.expected("run-a", "u1"))
            return faults.asked.is_set()

        wait_until("the candidate hangs", ask)
        before = outcome(client, "dropped")
        for _ in range(9):
            ask()
        assert outcome(client, "dropped") >= before + 7
        assert outcome(client, "scored") == 0
        faults.release.set()
        wait_until("it goes on", lambda: outcome(client, "scored") >= 1)


def test_both_runs_are_timed_and_compared_on_the_same_requests(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two of each list, compared by hand; the current run's time is the one it took for the user."""
    home.commit("run-b", mode="shadow", rollout_share=1.0)
    both = set(home.expected("run-a", "u1", 2)) & set(home.expected("run-b", "u1", 2))
    with serve(home, monkeypatch, Faults()) as client:

        def ask() -> bool:
            client.get("/recommend/u1?k=2")
            return outcome(client, "scored") >= 1

        wait_until("one is scored", ask)
        home.commit("run-a")  # ends the trial: what waits is dropped
        assert client.post("/models/reload").status_code == 200
        wait_until("no more are scored", lambda: outcome(client, "scored") == shadow(client, "overlap_count"))
        scored = outcome(client, "scored")
        assert shadow(client, "overlap_sum") == pytest.approx(scored * len(both) / 2)
        for name in ("latency_seconds", "served_latency_seconds"):
            assert shadow(client, f"{name}_count") == scored
            assert 0 < shadow(client, f"{name}_sum") < scored


def test_a_run_that_fails_to_load_in_an_unplanned_way_leaves_the_old_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The watcher says so, lives on, and follows when it works again."""
    faults = Faults(fail_to_load={"run-b"})
    with serve(home, monkeypatch, faults) as client:
        with caplog.at_level(logging.ERROR, "recommendation_api"):
            home.commit("run-b")
            wait_until("the watcher has tried", lambda: "told to fail to load" in caplog.text)
        assert client.get("/recommend/u1").json()["items"] == home.expected("run-a", "u1")
        assert client.get("/models").json()["workers"][0]["current"] == "run-a"
        faults.fail_to_load.clear()
        wait_until("the watcher follows", lambda: client.get("/recommend/u1").json()["run_id"] == "run-b")
