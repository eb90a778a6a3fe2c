"""Desired against observed state, and what other DAGs hear of a release: with a real scheduler, triggerer and replica.

The replica's own watcher is asleep for an hour: what heals here is the DAG.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_release import registry as transitions
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.run_store import RunStore
from model_release.contract import ReloadRequest, utc_now
from model_release.ledger import Event
from scripts.local_stack import LocalStack
from scripts.services import PROJECT
from tests.fakes_wecom import FakeWeCom, wecom
from tests.live.installation import AS_OF, PIPELINE, ROLLBACK, Ended, Installation
from tests.live.shop import FIRST_DAYS, POLICY, write_shop
from tests.runs import publish_run

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RECONCILE = "recommendation_reconcile_state"
CONSUMER = "after_a_release"


@pytest.fixture(scope="module")
def robot() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's DAGs and the one of the how-to guide, in a folder of their own; waits are shorter there."""
    home = tmp_path_factory.mktemp("state")
    dags = home / "dags"
    shutil.copytree(PROJECT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    file = dags / f"{RECONCILE}.py"
    whole, short = 'task_id="reconcile_state"', 'task_id="reconcile_state", timeout_seconds=6'
    assert whole in file.read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace(whole, short), encoding="utf-8")
    guide = (PROJECT / "docs/how-to/react-to-a-release.md").read_text(encoding="utf-8")
    (dags / "consumer.py").write_text(guide.split("```python\n")[1].split("```")[0], encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def shop(home: Path, robot: FakeWeCom) -> Iterator[Installation]:
    """Airflow and a replica with two workers that only moves when it is told to."""
    policy = home / "release_policy.yaml"
    policy.write_text(POLICY)
    extra = {
        "PIPELINE_CONFIG": str(write_shop(home / "shop", FIRST_DAYS)),
        "RELEASE_POLICY": str(policy),
        "AIRFLOW_CONN_WECOM_ROBOT": robot.connection(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "RECOMMENDATION_API_WATCH_SECONDS": "3600",
    }
    with LocalStack(home, extra=extra) as stack, stack.rest() as rest:
        made = Installation(stack, rest, robot)
        known = (PIPELINE, ROLLBACK, RECONCILE, CONSUMER)
        made.wait_until("Airflow knows the DAGs", lambda: all(rest.get(f"/dags/{dag}").is_success for dag in known))
        made.sell_on()
        made.unpause(PIPELINE)
        yield made


def asset_events(shop: Installation, name: str) -> list[dict[str, Any]]:
    """Return the events of an asset, oldest first."""
    answer: httpx.Response | None = None

    def answered() -> bool:  # status 500 while a consumer waits in the queue: apache/airflow #71360
        nonlocal answer
        answer = shop.rest.get("/assets/events")
        return answer.is_success

    shop.wait_until("Airflow tells of its events", answered, 30)
    assert answer is not None
    found = answer.json()["asset_events"]
    return sorted((event for event in found if event["name"] == name), key=lambda event: int(event["id"]))


def consumer_runs(shop: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.rest.get(f"/dags/{CONSUMER}/dagRuns").raise_for_status().json()["dag_runs"]
    return found


def facts(shop: Installation) -> list[Event]:
    kinds = {Event.DEVIATED, Event.HEALED, Event.RECOVERED}
    return [entry.event for entry in FileLedger(shop.paths).read() if entry.event in kinds]


def reconcile(shop: Installation) -> dict[str, Any]:
    ended = shop.run(RECONCILE)
    assert ended.state == "success", ended.tasks
    result: dict[str, Any] = ended.result("reconcile_state")
    return result


# Assets


@pytest.fixture(scope="module")
def released(shop: Installation) -> Ended:
    ended = shop.run(as_of=AS_OF[0])
    assert ended.state == "success", ended.tasks
    return ended


def test_a_release_is_an_event_and_starts_the_documented_consumer(shop: Installation, released: Ended) -> None:
    """One of each, with run, release, generation, mode and the gate's decision; the consumer says which run it was."""
    run_id = released.result("train")["run_id"]
    (event,) = asset_events(shop, "recommendation_release")
    decision = released.decision
    assert decision is not None
    assert event["extra"] == {
        "run_id": run_id,
        "release_id": released.release_id,
        "generation": shop.generation,
        "mode": "primary",
        "decision": {"verdict": "pass", "policy_sha256": decision.policy_sha256},
        "previous_run_id": None,
        "rollback": False,
    }
    assert (event["source_dag_id"], event["source_task_id"]) == (PIPELINE, "verify")
    (registered,) = asset_events(shop, "recommendation_run")
    assert (registered["extra"]["run_id"], registered["extra"]["decision"]) == (run_id, None)

    shop.wait_until("the consumer is started", lambda: bool(consumer_runs(shop)))
    (run,) = consumer_runs(shop)
    consumer = shop.ended(CONSUMER, run["dag_run_id"])
    assert consumer.state == "success"
    assert consumer.result("tell") == f"released {run_id}, generation {shop.generation}"


def test_a_cleared_verification_announces_nothing_twice(shop: Installation, released: Ended) -> None:
    url = f"/dags/{PIPELINE}/clearTaskInstances"
    body = {
        "dry_run": False,
        "dag_run_id": released.dag_run_id,
        "task_ids": ["register", "verify"],
        "only_failed": False,
    }
    shop.rest.post(url, json=body).raise_for_status()
    verify = f"/dags/{PIPELINE}/dagRuns/{released.dag_run_id}/taskInstances/verify"

    def again() -> bool:
        task = shop.rest.get(verify).raise_for_status().json()
        return (task["try_number"], task["state"]) == (2, "success")

    shop.wait_until("it is verified again", again)
    assert shop.ended(PIPELINE, released.dag_run_id).state == "success"
    assert len(asset_events(shop, "recommendation_release")) == 1
    assert len(asset_events(shop, "recommendation_run")) == 1


def test_a_shadow_is_no_release_and_a_rollback_is_one(shop: Installation, released: Ended) -> None:
    first = released.result("train")["run_id"]
    shadow = shop.run(as_of=AS_OF[1], mode="shadow", rollout=0.1)
    assert shadow.state == "success", shadow.tasks
    assert len(asset_events(shop, "recommendation_run")) == 2
    assert len(asset_events(shop, "recommendation_release")) == 1

    second = shop.run(run_id=shadow.result("train")["run_id"])
    assert second.state == "success", second.tasks
    back = shop.run(ROLLBACK, reason="complaints", set_latch=False)
    assert back.state == "success", back.tasks
    extras = [event["extra"] for event in asset_events(shop, "recommendation_release")]
    assert [(extra["run_id"], extra["rollback"]) for extra in extras] == [
        (first, False),
        (shadow.result("train")["run_id"], False),
        (first, True),
    ]
    assert extras[-1]["decision"] is None


# State


def leave_behind(shop: Installation, run_id: str) -> int:
    """Make ``run_id`` desired, proved long ago as far as the ledger knows, without a word to the replica."""
    publish_run(shop.paths, run_id, seed=len(run_id))
    digest = RunStore(shop.paths).manifest_sha256(run_id)
    registry = FileRegistry(shop.paths)
    at = utc_now()
    registry.update(
        lambda state: transitions.register(state, run_id=run_id, manifest_sha256=digest, release_id=run_id, at=at)
    )
    long_ago = at - dt.timedelta(days=1)
    after = registry.update(
        lambda state: transitions.promote(state, run_id=run_id, release_id=run_id, at=long_ago, cause="person")
    )
    return after.generation


def test_a_replica_that_lags_is_healed_and_the_registry_stays(shop: Installation, released: Ended) -> None:
    """Both workers serve what is desired, one task long; the ledger has it, nobody is told."""
    assert released.state == "success"
    assert reconcile(shop)["outcome"] == "agrees"
    messages = len(shop.robot.texts)
    generation = leave_behind(shop, "left-behind")
    before = shop.paths.registry.read_bytes()
    assert {worker.generation for worker in shop.models().workers} == {generation - 1}
    result = reconcile(shop)
    assert (result["outcome"], result["healed"]) == ("healed", [shop.stack.api_url])
    assert [(worker.generation, worker.current) for worker in shop.models().workers] == [
        (generation, "left-behind")
    ] * 2
    assert shop.paths.registry.read_bytes() == before
    assert facts(shop) == [Event.HEALED]
    assert len(shop.robot.texts) == messages


def test_a_replica_that_is_gone_is_told_once_and_its_return_once(shop: Installation, released: Ended) -> None:
    """Each run waits in the triggerer; three runs find it gone, one message says so; two find it back, one says so."""
    assert released.state == "success"
    already = len(facts(shop))
    shop.stack.services["recommendation API"].stop()
    try:
        messages = len(shop.robot.texts)
        for _ in range(2):
            result = reconcile(shop)
            assert result["outcome"] == "deviates"
            assert result["facts"][0].startswith(shop.stack.api_url)
        shop.wait_until("the robot tells", lambda: len(shop.robot.texts) > messages)
    finally:
        shop.stack.start_api()
        shop.stack.wait_for("recommendation API", f"{shop.stack.api_url}/health/ready")
    for _ in range(2):
        assert reconcile(shop)["outcome"] == "agrees"
    shop.wait_until("the robot tells that it is over", lambda: len(shop.robot.texts) > messages + 1)
    assert facts(shop)[already:] == [Event.DEVIATED, Event.RECOVERED]
    first, last = shop.robot.texts[messages:]
    assert first.startswith("**⚠️ Not everywhere what is desired**")
    assert last.startswith("**✅ Everywhere what is desired again**")


def test_a_run_that_can_not_be_loaded_is_told_and_the_old_one_serves_on(shop: Installation, released: Ended) -> None:
    """Following is refused: its files are damaged.  Users keep their lists; mended by hand, it is healed."""
    assert released.state == "success"
    lists, already, messages = shop.lists(), len(facts(shop)), len(shop.robot.texts)
    leave_behind(shop, "damaged")
    file = RunStore(shop.paths).folder("damaged") / "popular.npy"
    good = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    result = reconcile(shop)
    assert result["outcome"] == "deviates", result
    assert shop.lists() == lists
    # before it is mended: a callback that comes late tells both in one message
    shop.wait_until("the robot tells", lambda: len(shop.robot.texts) == messages + 1)
    file.write_bytes(good)
    assert reconcile(shop)["outcome"] == "healed"
    assert {worker.current for worker in shop.models().workers} == {"damaged"}
    assert facts(shop)[already:] == [Event.DEVIATED, Event.HEALED, Event.RECOVERED]
    shop.wait_until("the robot tells that it is over", lambda: len(shop.robot.texts) == messages + 2)
    with RecommendationApiClient(shop.stack.api_url, token=shop.stack.reload_token) as api:
        api.reload(ReloadRequest(run_id=str(released.result("train")["run_id"])))
