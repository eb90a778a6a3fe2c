"""Replicas that join, lag, vanish or are missing while a release goes on: told, counted, passed over and reported."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from model_release.ledger import Event, LedgerEntry, of_release
from model_release_airflow.context import Stores
from model_release_airflow.hooks import recommendation_api
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.operators.state_reconcile import StateReconcileOperator
from model_release_airflow.triggers import fleet as triggers
from tests.airflow.contexts import RELEASE_ID, context, fire
from tests.airflow.replica_server import ReplicaServer, connection
from tests.airflow.test_model_reload import current, events, passed, reload, run

Listed = Callable[..., None]


@pytest.fixture
def third(stores: Stores) -> Iterator[ReplicaServer]:
    """A replica that runs, and stands on no list yet."""
    server = ReplicaServer(stores)
    yield server
    server.close()


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Listed:
    """Change which replicas the connection lists."""
    return lambda *servers: monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", connection(servers))


@pytest.fixture
def asking(tmp_path: Path) -> Callable[[int | str], str]:
    """A policy with a quorum."""
    check = {"name": "floor", "kind": "absolute", "metric": "ndcg_at_10", "at_least": 0.01, "minimum_users": 2}

    def written(quorum: int | str) -> str:
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps({"schema_version": 1, "name": "test", "quorum": quorum, "checks": [check]}))
        return str(file)

    return written


def deferred(operator: Any, event: dict[str, Any] | None = None, **given: Any) -> TaskDeferred:
    """Run the task, or let it go on with ``event``, until it waits in the triggerer."""
    found = context(operator, **given)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(found) if event is None else operator.execute_complete(found, event)
    return caught.value


def go_on(operator: Any, event: dict[str, Any]) -> dict[str, Any]:
    """Let the task go on with ``event`` until its end; on a busy machine it may wait once more."""
    while True:
        try:
            receipt: dict[str, Any] = operator.execute_complete(context(operator), event)
        except TaskDeferred as waits:
            event = fire(waits.trigger)
        else:
            return receipt


def last(stores: Stores, event: Event) -> LedgerEntry:
    return [entry for entry in of_release(stores.ledger.read(), RELEASE_ID) if entry.event is event][-1]


def test_with_a_quorum_one_may_be_missing(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed, asking: Any
) -> None:
    """Two of three are enough to prepare, prove and verify; who is missing is in the value and in the ledger."""
    passed(stores)
    listed(*fleet, third)
    third.status = 503
    receipt = run(reload(policy=asking("60%")))
    assert (receipt["workers"], receipt["missing"]) == (2, [third.url])
    assert last(stores, Event.RELEASED).details == {"missing": [third.url]}
    verify = RunVerifyOperator(task_id="verify", run_id="new", policy=asking("60%"))
    found = verify.execute(context(verify))
    assert (found["replicas"], found["missing"]) == (2, [third.url])
    assert last(stores, Event.VERIFIED).details["missing"] == [third.url]


def test_a_missing_one_is_told_of_until_it_serves_what_is_desired(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed, asking: Any
) -> None:
    """``recommendation_reconcile_state`` reports it while it is away, and heals it when it is back."""
    test_with_a_quorum_one_may_be_missing(stores, fleet, third, listed, asking)
    reconcile: dict[str, Any] = {"poll_seconds": 0.05, "timeout_seconds": 0.1}
    operator = StateReconcileOperator(task_id="reconcile_state", **reconcile)
    found = operator.execute_complete(context(operator), fire(deferred(operator).trigger))
    assert found["outcome"] == "deviates"
    assert all(third.url in text for text in found["facts"])
    third.status = None  # back, with the run from before
    operator = StateReconcileOperator(task_id="reconcile_state", **reconcile)
    assert operator.execute(context(operator))["outcome"] == "healed"
    assert third.replica.served.generation == 2


def test_without_a_quorum_everybody_has_to_be_there(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed, asking: Any
) -> None:
    """``all`` is the default, and too few are an outage before anything changed."""
    passed(stores)
    listed(*fleet, third)
    third.status = 503
    for policy in (None, asking("all"), asking("67%")):
        with pytest.raises(AirflowException, match="503"):
            run(reload(policy=policy))
    assert stores.registry.read().generation == 1


def test_a_quorum_that_can_not_be_reached_says_so(stores: Stores, fleet: list[ReplicaServer], asking: Any) -> None:
    """It is tried again, as a name may resolve to fewer addresses for a moment; nothing is changed."""
    passed(stores)
    with pytest.raises(AirflowException, match=r"quorum is 3 replicas, and there are 2") as caught:
        run(reload(policy=asking(3)))
    assert not isinstance(caught.value, AirflowFailException)
    assert [server.posts for server in fleet] == [[], []]
    assert stores.registry.read().generation == 1


def test_a_reachable_one_that_differs_blocks_whatever_the_quorum(
    stores: Stores, fleet: list[ReplicaServer], asking: Any
) -> None:
    """It acknowledges and goes on serving the old run: everybody goes back."""
    passed(stores)
    fleet[1].deaf = True
    with pytest.raises(AirflowFailException, match="generation 1, desired is 2"):
        run(reload(policy=asking(1), timeout_seconds=0.3))
    assert current(stores) == "old"


def test_a_policy_that_can_not_be_read_needs_everybody(stores: Stores, fleet: list[ReplicaServer], asking: Any) -> None:
    """A reload that a broken policy makes stricter, and a way back that it does not stop."""
    passed(stores)
    broken = asking("no quorum at all")
    fleet[1].status = 503
    with pytest.raises(AirflowException, match="503"):
        run(reload(policy=broken))
    fleet[1].status = None
    run(reload(policy=broken))
    close = ReleaseCloseOperator(task_id="close_release", policy=broken)
    assert close.execute(context(close)) == {"release_id": RELEASE_ID, "phase": "proved"}
    assert current(stores) == "old"


def test_the_way_back_needs_no_more_than_the_quorum(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed, asking: Any
) -> None:
    """With one away it is proved, and the ledger says without whom; without a quorum it is not proved."""
    passed(stores)
    listed(*fleet, third)
    run(reload())
    third.status = 503
    everybody = ReleaseCloseOperator(task_id="close_release", put_back_seconds=0.1)
    with pytest.raises(AirflowException, match="not yet served everywhere"):
        everybody.execute(context(everybody))
    assert Event.ROLLED_BACK not in events(stores)
    close = ReleaseCloseOperator(task_id="close_release", policy=asking(2), put_back_seconds=1.0)
    close.execute(context(close))
    assert last(stores, Event.ROLLED_BACK).details == {"missing": [third.url]}


def test_one_that_joins_late_is_told_by_a_worker(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed
) -> None:
    """The trigger finds it and only says so; the worker tells it, and nobody else again; then it counts."""
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=30.0)
    waiting = deferred(operator)
    fleet[1].deaf = False
    fleet[1].replica.look()
    listed(*fleet, third)
    posts = [len(server.posts) for server in (*fleet, third)]
    event = fire(waiting.trigger)
    assert (event["status"], event["lagging"]) == ("lagging", [third.url])
    assert [len(server.posts) for server in (*fleet, third)] == posts
    assert go_on(operator, event)["workers"] == 3
    assert [len(server.posts) for server in (*fleet, third)] == [posts[0], posts[1], 1]
    request, authorization = third.posts[0]
    assert (request.generation, request.run_id, authorization) == (2, "new", "Bearer reload-token-for-tests")


def test_one_that_lags_is_told_again_until_the_same_deadline(
    stores: Stores, fleet: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It acknowledged and lags: not at once, but after a while it is told again, a bounded number of times."""
    monkeypatch.setattr(triggers, "LAG_SECONDS", 0.2)
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=12.0)
    waiting = deferred(operator)
    deadline, others = waiting.trigger.deadline, len(fleet[0].posts)
    for left in (4, 3, 2, 1, 0):
        event = fire(waiting.trigger)
        assert (event["status"], event["lagging"]) == ("lagging", [fleet[1].url])
        waiting = deferred(operator, event)
        assert (waiting.trigger.deadline, waiting.trigger.told["again"]) == (deadline, left)
    assert len(fleet[1].posts) == 2 + 5  # prepared, switched, and five times more
    assert fire(waiting.trigger)["status"] == "timed_out"
    assert len(fleet[0].posts) == others


def test_what_was_told_in_time_is_not_told_again(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """A replica that acknowledged gets ``LAG_SECONDS`` to follow."""
    passed(stores)
    fleet[1].deaf = True
    waiting = deferred(reload(timeout_seconds=1.0))
    assert fire(waiting.trigger)["status"] == "timed_out"


def test_one_that_did_not_hear_is_told_when_it_can_be_reached(
    stores: Stores, fleet: list[ReplicaServer], asking: Any
) -> None:
    """Missing while everybody was told, and back while they are waited for: it counts, so it is told."""
    passed(stores)
    fleet[1].status = 503
    operator = reload(policy=asking(1), timeout_seconds=30.0)
    fleet[0].deaf = True  # else they would agree without the one that is missing
    waiting = deferred(operator)
    fleet[0].deaf, fleet[1].status = False, None
    fleet[0].replica.look()
    event = fire(waiting.trigger)
    assert (event["status"], event["lagging"]) == ("lagging", [fleet[1].url])
    receipt = go_on(operator, event)
    assert (receipt["workers"], receipt["missing"]) == (2, [])


def test_a_late_one_is_not_told_of_a_generation_that_moved_on(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed
) -> None:
    """Somebody else changed what is desired meanwhile: this task tells nobody anything."""
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=30.0)
    waiting = deferred(operator)
    listed(*fleet, third)
    event = fire(waiting.trigger)
    stores.registry.update(lambda state: state.model_copy(update={"generation": state.generation + 1}))
    with pytest.raises(AirflowFailException, match="somebody else changed it"):
        operator.execute_complete(context(operator), event)
    assert third.posts == []


def test_one_that_is_on_the_list_no_more_is_reported(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed
) -> None:
    """The others prove the release; who vanished is in the value and in the ledger."""
    passed(stores)
    listed(*fleet, third)
    third.deaf = True
    operator = reload(timeout_seconds=30.0)
    waiting = deferred(operator)
    listed(*fleet)
    event = fire(waiting.trigger)
    assert event["status"] == "agreed"
    receipt = go_on(operator, event)
    assert (receipt["workers"], receipt["missing"]) == (2, [third.url])
    assert last(stores, Event.RELEASED).details == {"missing": [third.url]}


def test_a_replica_that_restarts_after_they_agreed_is_waited_for(stores: Stores, fleet: list[ReplicaServer]) -> None:
    """There is time left until the deadline: no way back yet."""
    passed(stores)
    fleet[1].deaf = True
    operator = reload(timeout_seconds=30.0, poll_seconds=0.02)
    waiting = deferred(operator)
    fleet[1].replica.look()
    event = fire(waiting.trigger)
    fleet[1].status = 503
    again = deferred(operator, event)
    assert again.trigger.deadline == waiting.trigger.deadline
    fleet[1].status = None
    assert go_on(operator, fire(again.trigger))["workers"] == 2


def test_one_that_joins_on_the_way_back_is_told_too(
    stores: Stores, fleet: list[ReplicaServer], third: ReplicaServer, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that goes back tells it itself."""
    passed(stores)
    listed(*fleet, third)
    run(reload())
    listed(*fleet)
    get, asked = fleet[0].get, []

    def joining(path: str) -> Any:
        asked.append(path)
        listed(*fleet, third)
        return get(path)

    monkeypatch.setattr(fleet[0], "get", joining)
    posts = len(third.posts)
    close = ReleaseCloseOperator(task_id="close_release")
    assert close.execute(context(close))["phase"] == "proved"
    assert third.replica.served.generation == 3
    assert len(third.posts) == posts + 1
    assert asked


def test_a_name_is_resolved_anew_each_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops, the triggerer's and the worker's, find an address that the name has only now."""
    passed(stores)
    first = ReplicaServer(stores)
    second = ReplicaServer(stores, ("127.0.0.2", first.port))
    hosts = ["127.0.0.1"]

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert (host, port) == ("replicas.example", first.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

    names = SimpleNamespace(getaddrinfo=resolve, SOCK_STREAM=socket.SOCK_STREAM)
    monkeypatch.setattr(recommendation_api, "socket", names)
    named = {"conn_type": "recommendation_api", "host": "replicas.example", "schema": "http", "port": first.port}
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps({**named, "extra": {"every_address": True}}))
    try:
        first.deaf = True
        operator = reload(timeout_seconds=30.0)
        waiting = deferred(operator)
        first.replica.look()
        hosts.append("127.0.0.2")
        event = fire(waiting.trigger)
        assert (event["status"], event["lagging"]) == ("lagging", [second.url])
        assert go_on(operator, event)["workers"] == 2
    finally:
        first.close()
        second.close()
