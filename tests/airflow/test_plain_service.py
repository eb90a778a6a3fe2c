"""A release to somebody else's service, through the operators: it works, or it says what is wrong and goes back."""

from __future__ import annotations

import copy
import json
import logging
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from model_release import fleet
from model_release import registry as transitions
from model_release.adapters.plain_service_client import PlainServiceClient
from model_release.adapters.service_mapping import read_mapping
from model_release.contract import LeaseRequest, ReloadRequest, utc_now
from model_release.errors import ReplicaRefusedError, ReplicaUnreachableError
from model_release.ledger import Event, of_release
from model_release.reconcile_state import to_tell
from model_release_airflow.context import Stores
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from tests.airflow.contexts import RELEASE_ID, context
from tests.airflow.plain_service import MAPPING, PlainService
from tests.airflow.test_model_reload import passed

TOKEN = "plain-token-7c1d"
FAST: dict[str, Any] = {"poll_seconds": 0.05, "put_back_seconds": 1.0, "conn_id": "our_service"}


@pytest.fixture
def service(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlainService]:
    """It serves ``old``, and knows the lists of both runs."""
    made = PlainService("old")
    for run_id in ("old", "new"):
        golden = stores.runs.golden(run_id)
        made.lists[run_id] = {one.id: list(one.expected) for one in golden if one.endpoint == "recommend"}
    connect(monkeypatch, made, MAPPING)
    yield made
    made.close()


def connect(monkeypatch: pytest.MonkeyPatch, service: PlainService, mapping: Any) -> None:
    connection = {
        "conn_type": "recommendation_api",
        "password": TOKEN,
        "extra": {"replicas": [service.url], "service": mapping},
    }
    monkeypatch.setenv("AIRFLOW_CONN_OUR_SERVICE", json.dumps(connection))


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in copy.deepcopy(MAPPING).items() if key not in names}


def reload(**changes: Any) -> Any:
    return ModelReloadOperator(task_id="model_reload", run_id="new", **{**FAST, "timeout_seconds": 1.0, **changes})


def verify(**changes: Any) -> Any:
    return RunVerifyOperator(task_id="verify", run_id="new", conn_id="our_service", put_back_seconds=1.0, **changes)


def events(stores: Stores) -> list[Event]:
    return [entry.event for entry in of_release(stores.ledger.read(), RELEASE_ID)]


def client(stores: Stores, service: PlainService, mapping: Any = MAPPING, **changes: Any) -> PlainServiceClient:
    read = read_mapping(mapping, connection="c")
    return PlainServiceClient(service.url, mapping=read, registry=stores.registry, token=TOKEN, **changes)


def test_a_release_to_a_plain_service(stores: Stores, service: PlainService) -> None:
    """Its own path, its own body, the token in the header; proved by its status and its answers."""
    passed(stores)
    receipt = reload().execute(context())
    assert (receipt["workers"], receipt["generation"]) == (1, 2)
    ((path, body, headers),) = service.posts
    assert (path, body) == ("/admin/switch", {"model": {"version": "new"}})
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert verify().execute(context())["requests"] == 5
    close = ReleaseCloseOperator(task_id="close_release", conn_id="our_service")
    assert close.execute(context(close))["phase"] == "verified"
    assert (service.version, len(service.posts)) == ("new", 1)


def test_wrong_answers_bring_the_old_run_back(stores: Stores, service: PlainService) -> None:
    """The way back posts the run from before, by name."""
    passed(stores)
    reload().execute(context())
    service.lists["new"] = {"u1": ["i1"]}
    with pytest.raises(AirflowFailException, match=r"recorded was .*served again by every replica"):
        verify().execute(context())
    assert service.version == "old"
    assert service.posts[-1][1] == {"model": {"version": "old"}}


def test_without_a_probe_the_ledger_says_what_was_not_checked(
    stores: Stores, service: PlainService, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, service, without("probe"))
    passed(stores)
    reload().execute(context())
    assert verify().execute(context())["requests"] == 0
    assert stores.ledger.read()[-1].details["checked"] == "status only: the service has no probe"
    service.version = "old"
    with pytest.raises(AirflowFailException, match="serves run old, desired is new"):
        verify().execute(context())


def test_a_service_that_keeps_the_old_run_is_noticed(stores: Stores, service: PlainService) -> None:
    """It said 200: that proves nothing, so the task waits for its status to change."""
    passed(stores)
    service.deaf = True
    with pytest.raises(TaskDeferred):
        reload().execute(context())
    with client(stores, service) as one:
        assert fleet.disagreements([one], stores.registry.read()) == [
            f"{service.url}: worker 0 serves run old, desired is new"
        ]


def test_a_zombie_posts_nothing(stores: Stores, service: PlainService) -> None:
    """The service can't tell generations apart, so the registry is read right before the post."""
    stores.registry.update(
        lambda state: transitions.promote(state, run_id="new", release_id="later", at=utc_now(), cause="person")
    )
    with client(stores, service) as one, pytest.raises(ReplicaRefusedError, match="registry is at 2") as caught:
        one.reload(ReloadRequest(run_id="old", generation=1))
    assert (caught.value.status, service.posts) == (409, [])


@pytest.mark.parametrize(
    ("changes", "mapping", "said"),
    [
        ({"mode": "shadow", "rollout": 0.1}, MAPPING, "has no mode 'shadow'"),
        ({"mode": "canary", "rollout": 0.1, "lease_seconds": 60}, without("trials_without_lease"), "service.lease"),
    ],
)
def test_what_it_can_not_do_is_refused_before_anything_changes(
    stores: Stores, service: PlainService, monkeypatch: pytest.MonkeyPatch, changes: Any, mapping: Any, said: str
) -> None:
    connect(monkeypatch, service, mapping)
    passed(stores)
    with pytest.raises(AirflowFailException, match=said):
        reload(**changes).execute(context())
    assert (stores.registry.read().generation, service.posts) == (1, [])


def test_a_trial_starts_is_renewed_and_ends(stores: Stores, service: PlainService) -> None:
    """What the mapping maps; the lease stands in the registry, and when it ran out the current run is posted."""
    reload(mode="canary", rollout=0.25, lease_seconds=60, gated=False).execute(context())
    assert service.posts[-1][1] == {"canary": {"version": "new", "share": 0.25}}
    assert (service.version, service.canary) == ("old", "new")
    before = stores.registry.read().candidate
    with client(stores, service) as one:
        receipt = one.lease(LeaseRequest(release_id=RELEASE_ID, generation=2, lease_seconds=600))
        assert before is not None
        assert before.lease_until is not None
        assert receipt.lease_until > before.lease_until
        with pytest.raises(ReplicaRefusedError, match="registry is at generation 2"):
            one.lease(LeaseRequest(release_id=RELEASE_ID, generation=1, lease_seconds=600))
    close = ReleaseCloseOperator(task_id="close_release", conn_id="our_service", put_back_seconds=1.0)
    close.execute(context(close, states={"verify": "failed"}))
    assert (service.version, service.canary) == ("old", None)


def test_a_service_that_restarted_is_told_again(stores: Stores, service: PlainService) -> None:
    """It tells no generation; the wrong run is noticed, and following heals it by the run's name."""
    service.version = "something"
    with client(stores, service) as one:
        registry = stores.registry.read()
        deviations = fleet.observe([one], registry)
        assert list(to_tell(deviations)) == [service.url]
        one.reload(ReloadRequest(generation=registry.generation))
        assert fleet.disagreements([one], registry) == []


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ({"status": 500}, ReplicaUnreachableError, "answered 500"),
        ({"status": 302}, ReplicaRefusedError, "answered 302"),
        ({"status": 401}, ReplicaRefusedError, "answered 401"),
        ({"text": "<html>welcome</html>"}, ReplicaRefusedError, "something else than JSON"),
        ({"text": '{"model": {}}'}, ReplicaRefusedError, "without '/model/version'"),
        ({"text": '{"model": {"version": 7}}'}, ReplicaRefusedError, "unusable value at '/model/version'"),
        ({"text": '{"model": {"version": "../x"}}'}, ReplicaRefusedError, "unusable value"),
        ({"text": '{"model": {"version": "old"}}'}, ReplicaRefusedError, "without '/canary/version'"),
        ({"text": " " * (9 * 2**20)}, ReplicaRefusedError, "answered more than"),
        ({"hangs": 0.6}, ReplicaUnreachableError, "ReadTimeout"),
    ],
)
def test_every_bad_answer_has_its_error_and_no_secret(
    stores: Stores, service: PlainService, fault: dict[str, Any], error: type[Exception], said: str
) -> None:
    for name, value in fault.items():
        setattr(service, name, value)
    with client(stores, service, timeout_seconds=0.2) as one, pytest.raises(error, match=said) as caught:
        one.models()
    assert TOKEN not in str(caught.value)


def test_an_outage_is_tried_again_and_nothing_is_committed(
    stores: Stores, service: PlainService, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a prepare call the status is asked for before the commit; logs never hold the token."""
    caplog.set_level(logging.DEBUG)
    passed(stores)
    service.status = 500
    with pytest.raises(AirflowException, match="answered 500") as caught:
        reload().execute(context())
    assert not isinstance(caught.value, AirflowFailException)
    assert Event.COMMITTED not in events(stores)
    assert TOKEN not in caplog.text + str(caught.value)


def test_a_prepare_call_is_posted_before_the_commit(stores: Stores, service: PlainService) -> None:
    """With its own path, which holds the run's name as one part, and another header for the token."""
    prepare = {"path": "/warm/$run_id", "body": {"model": {"version": "old"}}}
    mapping = {**MAPPING, "prepare": prepare, "auth_header": "X-Key", "auth_scheme": ""}
    with client(stores, service, mapping) as one:
        assert one.reload(ReloadRequest(run_id="new", prepare=True)).status == "prepared"
    ((path, _, headers),) = service.posts
    assert (path, headers["X-Key"]) == ("/warm/new", TOKEN)
    assert "Authorization" not in headers


def test_the_test_button_says_that_no_generation_is_told(service: PlainService) -> None:
    good, said = RecommendationApiHook("our_service").test_connection()
    assert good
    assert said == f"{service.url}: 1 of 1 workers serve old at generation not told"


def test_the_example_is_a_whole_release() -> None:
    """Loaded as Airflow would; it is in no DAG folder by default."""
    found = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "release_plain_service.py"))
    made = found["release_plain_service"]()
    assert isinstance(made, DAG)
    names = [task.task_id for task in made.topological_sort()]  # type: ignore[no-untyped-call]
    assert names == ["train", "register", "quality_gate", "model_reload", "verify", "close_release"]
    assert {task.conn_id for task in made.tasks if hasattr(task, "conn_id")} == {"our_service"}
