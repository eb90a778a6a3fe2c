"""``POST /models/reload``: a 200 is true, and anything else leaves the old run serving."""

from __future__ import annotations

import pytest

from model_release.contract import ReloadReceipt
from tests.api.replica import Replica
from tests.runs import stage_run

PATH_LIKE = [
    "../run-b",
    "..",
    "a/b",
    "/etc/passwd",
    "staging",
    "run-b\n",
    "",
    "x" * 65,
    "model_registry.json",
    "run%2Fb",
]


def test_a_reload_changes_the_lists_and_a_rollback_changes_them_back(replica: Replica) -> None:
    """Every user's list is the other run's, not only the label; an older run_id is a rollback."""
    lists = {run_id: replica.home.lists(run_id) for run_id in ("run-a", "run-b")}
    assert all(lists["run-a"][user] != lists["run-b"][user] for user in lists["run-a"])
    assert replica.lists() == lists["run-a"]
    replica.reload(run_id="run-b")
    assert replica.lists() == lists["run-b"]
    assert replica.recommend("u1")["run_id"] == "run-b"
    replica.reload(run_id="run-a")
    assert replica.lists() == lists["run-a"]
    assert replica.recommend("u1")["run_id"] == "run-a"


def test_the_receipt_says_what_is_served(replica: Replica) -> None:
    """Run, generation and the run from before, as registry and workers have them."""
    before = replica.home.generation
    receipt = ReloadReceipt.model_validate(replica.reload(run_id="run-b"))
    assert receipt == ReloadReceipt(
        status="serving",
        changed=True,
        mode="primary",
        run_id="run-b",
        generation=before + 1,
        previous_run_id="run-a",
        workers=1,
        message=f"committed generation {before + 1}",
    )
    assert (replica.home.generation, replica.home.current) == (before + 1, "run-b")
    worker = replica.worker
    assert (worker.generation, worker.current, worker.degraded) == (before + 1, "run-b", None)
    assert worker.resident[:2] == ("run-b", "run-a")


def test_a_call_by_hand_is_in_the_ledger(replica: Replica) -> None:
    """Who, what, and the run from before: one call of a maintainer leaves the same record as a release."""
    replica.reload(run_id="run-b", release_id="night-call-1")
    entries = replica.home.entries("night-call-1")
    assert [entry.event for entry in entries][-2:] == ["committed", "released"]
    assert {entry.by for entry in entries} == {"api:127.0.0.1"}
    assert (entries[-1].run_id, entries[-1].previous_run_id) == ("run-b", "run-a")


def test_the_same_release_again_changes_nothing(replica: Replica) -> None:
    """A curl that is sent twice: 200, not changed, and no generation later."""
    first = replica.reload(run_id="run-b", release_id="twice-1")
    again = replica.reload(run_id="run-b", release_id="twice-1")
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["generation"] == first["generation"] == replica.home.generation
    assert replica.home.events("twice-1").count("committed") == 1


def test_a_superseded_release_is_not_replayed(replica: Replica) -> None:
    """A curl from yesterday, sent again, does not bring its run back."""
    replica.reload(run_id="run-b", release_id="yesterday")
    replica.reload(run_id="run-c", release_id="today")
    assert "superseded" in replica.refuse(409, run_id="run-b", release_id="yesterday")
    assert replica.serves("run-c")


def test_prepare_makes_a_run_resident_and_serves_the_old_one(replica: Replica) -> None:
    """Step one alone: registry, ledger and answers stay as they are."""
    folder = replica.home.publish("run-prepared")
    before = (replica.home.registry.read(), replica.home.ledger.read())
    receipt = replica.reload(run_id="run-prepared", prepare=True)
    assert (receipt["status"], receipt["run_id"], receipt["changed"]) == ("prepared", "run-prepared", True)
    assert receipt["generation"] == before[0].generation
    assert replica.serves("run-a")
    assert (replica.home.registry.read(), replica.home.ledger.read()) == before
    assert "run-prepared" in replica.worker.resident
    assert replica.reload(run_id="run-prepared", prepare=True)["changed"] is False
    assert folder.is_dir()


def test_a_prepared_run_stays_resident_for_the_way_there_and_back(replica: Replica) -> None:
    """Current, the one before and what is being prepared are in memory; older ones are let go."""
    replica.reload(run_id="run-b")
    replica.reload(run_id="run-c")
    assert replica.worker.resident == ("run-c", "run-b")
    replica.reload(run_id="run-a", prepare=True)
    assert set(replica.worker.resident) == {"run-c", "run-b", "run-a"}


def test_an_empty_body_follows_the_registry(replica: Replica) -> None:
    """The registry says what is desired; a commit that nobody told of is served when the call returns."""
    desired = replica.home.commit("run-c")
    receipt = replica.reload()
    assert (receipt["run_id"], receipt["generation"]) == ("run-c", desired.generation)
    assert replica.serves("run-c")
    assert replica.reload()["changed"] is False


def test_a_named_generation_is_followed_when_it_is_committed(replica: Replica) -> None:
    """What the pipeline sends after its commit; the same again is no error."""
    desired = replica.home.commit("run-b")
    receipt = replica.reload(run_id="run-b", generation=desired.generation)
    assert (receipt["run_id"], receipt["generation"]) == ("run-b", desired.generation)
    assert replica.reload(run_id="run-b", generation=desired.generation)["changed"] is False
    assert replica.home.generation == desired.generation


def test_an_older_generation_is_refused(replica: Replica) -> None:
    """A zombie task can't bring an old run back, nor prepare for it."""
    old = replica.home.commit("run-b").generation
    replica.home.commit("run-c")
    replica.reload()
    assert "generation conflict" in replica.refuse(409, run_id="run-b", generation=old)
    assert "generation conflict" in replica.refuse(409, run_id="run-b", generation=old, prepare=True)
    assert "generation conflict" in replica.refuse(409, generation=old)
    assert replica.serves("run-c")


def test_a_generation_that_is_not_committed_yet_is_worth_a_retry(replica: Replica) -> None:
    """The registry as this replica sees it is behind the caller: 503 with a time to come back."""
    ahead = replica.home.generation + 1
    answer = replica.post("/models/reload", {"run_id": "run-b", "generation": ahead})
    assert (answer.status_code, answer.json()["title"]) == (503, "registry behind")
    assert answer.headers["retry-after"] == "1"
    assert replica.serves("run-a")


@pytest.mark.parametrize(
    "claim",
    [
        {"run_id": "run-b"},
        {"run_id": "run-a", "mode": "shadow", "rollout": 0.1},
        {"run_id": "run-b", "mode": "canary", "rollout": 0.1},
    ],
)
def test_a_call_that_contradicts_the_registry_is_refused(replica: Replica, claim: dict[str, object]) -> None:
    """With a generation the caller claims to have committed; the registry knows better."""
    before = replica.home.registry.read()
    detail = replica.refuse(409, generation=before.generation, **claim)
    assert "does not desire" in detail
    assert replica.home.registry.read() == before
    assert replica.serves("run-a")


def test_an_unknown_run_is_not_found(replica: Replica) -> None:
    """For a reload, a preparation and a trial; nothing is registered."""
    before = replica.home.registry.read()
    replica.refuse(404, run_id="run-x")
    replica.refuse(404, run_id="run-x", prepare=True)
    replica.refuse(404, run_id="run-x", mode="canary", rollout=0.5)
    replica.refuse(404, run_id="run-x", source="staging")
    assert replica.home.registry.read() == before
    assert replica.serves("run-a")


@pytest.mark.parametrize("run_id", PATH_LIKE)
def test_a_run_id_never_becomes_a_path(replica: Replica, run_id: str) -> None:
    """Refused as a body that is not valid, before any file is looked at."""
    assert "run_id" in replica.refuse(422, run_id=run_id)
    assert replica.serves("run-a")


@pytest.mark.parametrize(
    "body",
    [
        {"run_id": "run-b", "mode": "canary", "rollout": 1.1},
        {"run_id": "run-b", "mode": "canary", "rollout": -0.1},
        {"run_id": "run-b", "mode": "canary"},
        {"run_id": "run-b", "rollout": 0.5},
        {"run_id": "run-b", "mode": "blue-green"},
        {"mode": "shadow", "rollout": 0.1},
        {"run_id": "run-b", "lease_seconds": 60},
        {"run_id": "run-b", "mode": "shadow", "rollout": 0.1, "lease_seconds": 0},
        {"run_id": "run-b", "generation": -1},
        {"run_id": "run-b", "release_id": "two words"},
        {"run_id": "run-b", "unknown": True},
        {"run_id": 7},
        {"prepare": True},
        {"source": "staging"},
        {"run_id": "run-b", "source": "/tmp"},  # noqa: S108  (a value that must be refused)
    ],
)
def test_a_body_that_is_not_the_contract_is_refused(replica: Replica, body: dict[str, object]) -> None:
    """Shares outside 0 to 1, missing partners and unknown keys: nothing is guessed, nothing changes."""
    before = replica.home.registry.read()
    replica.refuse(422, **body)
    assert replica.home.registry.read() == before
    assert replica.serves("run-a")


def test_a_staged_run_is_published_and_served_in_one_call(replica: Replica) -> None:
    """``source: staging`` with a run that waits there; preparing it keeps it where it is."""
    home = replica.home
    manifest = stage_run(home.paths, "run-staged", seed=5)
    staged = home.runs.folder("run-staged", source="staging")
    (staged / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    replica.reload(run_id="run-staged", source="staging", prepare=True)
    assert staged.is_dir()
    assert "run-staged" not in replica.worker.resident
    replica.reload(run_id="run-staged", source="staging")
    assert not staged.exists()
    assert replica.serves("run-staged")
