"""Each route tells what is there; each part that is away says so alone; nothing secret, and nothing twice, is sent."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.models import Connection
from airflow.utils.session import create_session

from model_release.adapters.decisions import write_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import promote, register, start_trial
from model_release.verdict import CheckResult, Decision, Verdict
from model_release_airflow.context import Stores
from model_release_airflow.page import asking
from tests.airflow.replica_server import ReplicaServer, connection
from tests.page.conftest import Login
from tests.page.evaluated import write_evaluation
from tests.page.history import compared as slices_compared
from tests.page.history import floor
from tests.page.yesterday import write_days_before, write_yesterday
from tests.runs import publish_run

HOSTILE = "<script>alert(1)</script>"
RELEASE = "recommendation_pipeline:manual__2026-01-05T12:00:00+00:00"
Get = Callable[..., Any]


@pytest.fixture
def get(login: Login, page: str) -> Get:
    """Ask a route as a viewer; return its answer."""
    client = login("viewer")

    def ask(path: str, **params: Any) -> Any:
        answer = client.get(f"{page}/api{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def note(paths: ReleasePaths, event: Event, **fields: Any) -> None:
    given: dict[str, Any] = {
        "at": utc_now(),
        "release_id": RELEASE,
        "by": "airflow:recommendation_pipeline/x",
        **fields,
    }
    FileLedger(paths).append(LedgerEntry(event=event, **given))


@pytest.fixture
def shop(paths: ReleasePaths) -> Stores:
    """Run ``old`` is current, ``new`` is on trial; a release with a decision tells of it."""
    store = FileRegistry(paths)
    for seed, run_id in enumerate(("older", "old", "new")):
        publish_run(paths, run_id, seed=seed)
        digest = RunStore(paths).manifest_sha256(run_id)
        store.update(
            lambda state, run_id=run_id, digest=digest: register(  # type: ignore[misc]
                state, run_id=run_id, manifest_sha256=digest, release_id=RELEASE, at=utc_now()
            )
        )
    for run_id in ("older", "old"):
        store.update(lambda state, run_id=run_id: promote(state, run_id=run_id, release_id="r", at=utc_now()))  # type: ignore[misc]
        note(paths, Event.COMMITTED, release_id="r", run_id=run_id, mode="primary", generation=store.read().generation)
    note(paths, Event.REGISTERED, run_id="new")
    result = CheckResult(check="recall", kind="absolute", verdict=Verdict.PASS, reason=HOSTILE, value=0.2, limit=0.1, direction="at_least")  # fmt: skip
    decision = Decision(
        verdict=Verdict.PASS, run_id="new", against="old", no_baseline=False, release_id=RELEASE, generation=2,
        decided_at=utc_now(), policy_name="p", policy_sha256="0" * 64, code_version="1", results=(result,), summary="",
    )  # fmt: skip
    write_decision(paths, decision)
    note(paths, Event.GATE_DECIDED, run_id="new", previous_run_id="old", reason=HOSTILE, details={"verdict": "pass"})
    lease = utc_now() + dt.timedelta(minutes=5)
    store.update(
        lambda state: start_trial(
            state, run_id="new", mode="canary", rollout=0.05, release_id=RELEASE, at=utc_now(), lease_until=lease
        )
    )
    note(paths, Event.COMMITTED, run_id="new", mode="canary", rollout=0.05, generation=3)
    note(paths, Event.TRIAL_STARTED, run_id="new", mode="canary", rollout=0.05, generation=3)
    return Stores(paths, store, FileLedger(paths), RunStore(paths))


@pytest.fixture
def replicas(shop: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReplicaServer]]:
    servers = [ReplicaServer(shop) for _ in range(2)]
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", connection(servers))
    monkeypatch.setattr(asking, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(asking, "FRESH_SECONDS", 0.0)
    yield servers
    for server in servers:
        server.close()


def test_an_empty_installation_is_told_as_empty(get: Get) -> None:
    """Nothing was ever released: that is no error, and what is not configured says so."""
    assert get("/desired")["data"]["generation"] == 0
    told = get("/timeline")
    assert (told["state"], told["data"]["releases"], told["data"]["total"]) == ("ok", [], 0)
    assert get("/runs")["data"] == {"runs": [], "total": 0}
    for part in ("/fleet", "/traffic", "/alerts"):
        assert get(part)["state"] == "missing"
    assert "AIRFLOW_CONN_RECOMMENDATION_API" in get("/fleet")["why"]
    assert "PROMETHEUS_URL is not set" in get("/traffic")["why"]
    assert "ALERTMANAGER_URL is not set" in get("/alerts")["why"]


def test_what_is_desired_and_what_serves(get: Get, replicas: list[ReplicaServer]) -> None:
    desired = get("/desired")["data"]
    assert (desired["current"]["run_id"], desired["candidate"]["run_id"], desired["back_to"]) == ("old", "new", "older")
    fleet = get("/fleet")["data"]
    assert fleet["agreeing"] == len(replicas)


def test_a_replica_that_is_away_hides_no_other(get: Get, replicas: list[ReplicaServer]) -> None:
    replicas[0].close()
    fleet = get("/fleet")["data"]
    assert sorted(one["state"] for one in fleet["replicas"]) == ["agrees", "unreachable"]
    assert fleet["agreeing"] == 1


def test_the_connection_may_be_kept_in_airflows_database(
    get: Get, replicas: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person made it in Airflow's form, and not in the environment."""
    known = json.loads(connection(replicas))
    monkeypatch.delenv("AIRFLOW_CONN_RECOMMENDATION_API")
    kept = Connection("recommendation_api", conn_type=known["conn_type"], extra=json.dumps(known["extra"]))
    with create_session() as session:
        session.add(kept)
    try:
        assert get("/fleet")["data"]["agreeing"] == len(replicas)
    finally:
        with create_session() as session:
            session.query(Connection).filter_by(conn_id="recommendation_api").delete()


def test_the_data_and_a_day_are_told_each_by_itself(get: Get, paths: ReleasePaths) -> None:
    """The worst table first; a promise with its interval; one file that is damaged does not hide the other."""
    assert {part["state"] for part in get("/health").values()} == {"missing"}
    write_yesterday(paths, utc_now(), "old")
    found = get("/health")
    tables = found["quality"]["data"]["tables"]
    assert [(one["table"], one["score"], one.get("worst_check")) for one in tables] == [
        ("items", 74.0, "completeness"), ("interactions", 96.5, None),
    ]  # fmt: skip
    promises = found["reconciliation"]["data"]["promises"]
    assert [(one["metric"], one["result"]) for one in promises] == [
        ("hit_rate_at_10", "kept"), ("recall_at_10", "broken"), ("recall_at_20", "unclear"),
    ]  # fmt: skip
    assert (promises[1]["run_id"], promises[1]["promised"]) == ("old", 0.12)
    paths.data_quality_metrics.write_text("data_quality_score")
    broken = get("/health")
    assert (broken["quality"]["state"], broken["reconciliation"]["state"]) == ("broken", "ok")
    assert "cut" in broken["quality"]["why"]


def test_a_score_that_is_no_number_is_not_made_one(get: Get, paths: ReleasePaths) -> None:
    write_yesterday(paths, utc_now(), "old")
    text = paths.data_quality_metrics.read_text().replace("96.5", "NaN")
    paths.data_quality_metrics.write_text(text)
    first = get("/health")["quality"]["data"]["tables"][0]
    assert (first["table"], "score" in first) == ("interactions", False)


def test_a_damaged_registry_is_told_and_the_ledger_still_read(get: Get, shop: Stores) -> None:
    shop.paths.registry.write_text("{}")
    assert get("/desired")["state"] == "broken"
    assert "not a valid registry" in get("/desired")["why"]
    assert get("/fleet")["state"] in {"broken", "missing"}
    assert get("/timeline")["state"] == "ok"


def test_a_damaged_ledger_is_told_and_the_registry_still_read(get: Get, shop: Stores) -> None:
    with shop.paths.ledger.open("a") as file:
        file.write("{}\n")
    assert get("/timeline")["state"] == "broken"
    assert get("/desired")["state"] == "ok"
    assert get(f"/releases/{RELEASE}")["state"] == "broken"


@pytest.mark.usefixtures("shop")
def test_a_release_is_told_with_its_decision(get: Get) -> None:
    found = get(f"/releases/{RELEASE}")["data"]
    assert found["release"]["outcome"] == "on_trial"
    assert [step["event"] for step in found["steps"]] == ["registered", "gate_decided", "committed", "trial_started"]
    assert found["judgements"]["offline"]["data"]["checks"][0]["reason"] == HOSTILE
    assert found["judgements"]["online"]["state"] == "missing"
    dag_id, _, dag_run_id = RELEASE.partition(":")
    assert get("/dag-run", dag_id=dag_id, dag_run_id=dag_run_id)["data"] == found
    assert get("/dag-run", dag_id="another", dag_run_id="x")["state"] == "missing"


@pytest.fixture
def behind(get: Get) -> Callable[[], Any]:
    """Ask what stands behind the release."""
    return lambda: get(f"/releases/{RELEASE}/behind")


def compared(paths: ReleasePaths) -> str:
    """Keep a decision on ``new`` that compared two slices, on an evaluation that is there; return the evaluation's file name."""
    digest = write_evaluation(paths, "new", "old", utc_now(), 0.004)
    results = [
        floor("data-quality", 96.0, 90.0, kind="data_quality", subject="items"),
        slices_compared("ndcg_at_10", 0.004, 0.002, 0.01),
        slices_compared("ndcg_at_10", 0.004, 0.002, 0.01, subject="ndcg_at_10 (low users)", samples=612),
    ]
    decision = Decision(
        verdict=Verdict.PASS, run_id="new", against="old", no_baseline=False, release_id=RELEASE, generation=2,
        decided_at=utc_now(), policy_name="p", policy_sha256="0" * 64, code_version="1", results=tuple(results), summary="",
        evidence={"new/summary.json": digest},
    )  # fmt: skip
    write_decision(paths, decision)
    return "new/summary.json"


def test_what_stands_behind_a_release_is_told(behind: Callable[[], Any], shop: Stores) -> None:
    """Slices with the evaluation's means, the lists of both runs, the data's history, the policy: each by itself."""
    name = compared(shop.paths)
    write_yesterday(shop.paths, utc_now(), "new")
    found = behind()["data"]
    low = next(row for row in found["slices"]["data"]["rows"] if row["label"] == "low users" and "verdict" in row)
    assert (low["users"], low["check"], low["low"] < low["difference"] < low["high"]) == (
        612,
        "no worse ndcg_at_10",
        True,
    )
    assert low["candidate"] > low["current"]
    assert found["slices_note"] == ""
    lists = found["ranking"]["lists"]["data"]
    assert {one["user_id"] for one in lists["users"]} == {"u1", "u2", "用户三"}
    assert 0.0 < lists["rbo"] <= 1.0
    assert found["ranking"]["movers"]["data"]["depth"] == 4
    assert found["quality"]["data"]["tables"][0]["points"][0]["score"] == 96.0
    assert found["days"]["data"]["strips"][0]["points"][0]["run_id"] == "new"
    policy = found["policy"]["offline"]["data"]
    assert (policy["same"], policy["now_name"]) == (False, "default")
    assert found["policy"]["online"]["state"] == "missing"
    (shop.paths.evaluation / name).write_text("{}")
    again = behind()["data"]
    assert "written again" in again["slices_note"]
    assert [row["label"] for row in again["slices"]["data"]["rows"]] == ["all", "low users"]


def test_each_part_behind_a_release_is_lacking_alone(
    behind: Callable[[], Any], shop: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compared(shop.paths)
    bad = tmp_path / "policy.yaml"
    bad.write_text("schema_version: 7")
    monkeypatch.setenv("RELEASE_POLICY", str(bad))
    (shop.paths.models / "old" / "items.arrow").unlink()
    found = behind()["data"]
    assert found["slices"]["state"] == "ok"
    assert found["policy"]["offline"]["state"] == "missing"
    assert "policy.yaml" in found["policy"]["offline"]["why"]
    assert (found["ranking"]["lists"]["state"], found["ranking"]["movers"]["state"]) == ("broken", "broken")
    assert found["days"]["state"] == "missing"
    (shop.paths.decisions / "offline" / f"{RELEASE}.json").write_text("{}")
    assert behind()["data"]["slices"]["state"] == "broken"
    assert behind()["data"]["quality"]["state"] == "missing"


@pytest.mark.usefixtures("shop")
def test_the_graph_of_a_release_is_linked_where_people_reach_prometheus(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never by the address that the servers use among themselves, and never one that is no address."""
    monkeypatch.setenv("PROMETHEUS_URL", "http://inside:9090")
    monkeypatch.delenv("PROMETHEUS_EXTERNAL_URL", raising=False)
    assert get(f"/releases/{RELEASE}")["data"]["graph"]["state"] == "missing"
    monkeypatch.setenv("PROMETHEUS_EXTERNAL_URL", "https://prometheus.example/")
    assert get(f"/releases/{RELEASE}")["data"]["graph"]["data"].startswith("https://prometheus.example/graph?g0.expr=")
    monkeypatch.setenv("PROMETHEUS_EXTERNAL_URL", "javascript:alert(1)")
    bad = get(f"/releases/{RELEASE}")["data"]
    assert (bad["graph"]["state"], bad["release"]["outcome"]) == ("broken", "on_trial")


def test_the_days_before_are_told_beside_the_newest(get: Get, paths: ReleasePaths) -> None:
    """Also where one of them is damaged: that one is a gap."""
    write_yesterday(paths, utc_now(), "b")
    write_days_before(paths, utc_now(), lambda _: "a")
    damaged = (utc_now() - dt.timedelta(days=3)).date()
    paths.reconciliation_of(damaged).write_text("{}")
    found = get("/health")["days"]["data"]
    gap = (utc_now() - dt.timedelta(days=7)).date()
    assert found["missing"] == [gap.isoformat(), damaged.isoformat()]
    strip = next(one for one in found["strips"] if one["metric"] == "recall_at_10")
    assert (len(strip["points"]), strip["points"][-1]["run_id"], strip["points"][0]["run_id"]) == (11, "b", "a")


def test_a_decision_that_is_damaged_hides_nothing_else(get: Get, shop: Stores) -> None:
    (shop.paths.decisions / "offline" / f"{RELEASE}.json").write_text("{}")
    found = get(f"/releases/{RELEASE}")["data"]
    assert found["judgements"]["offline"]["state"] == "broken"
    assert found["release"]["outcome"] == "on_trial"


@pytest.mark.usefixtures("shop")
def test_two_runs_are_compared(get: Get) -> None:
    found = get("/compare", left="old", right="new")
    assert (found["left"]["data"]["run_id"], found["right"]["data"]["run_id"]) == ("old", "new")
    assert found["measured"]["data"]["together"] is False
    assert found["judgement"]["data"]["run_id"] == "new"
    assert found["movers"]["data"]["depth"] == 4
    assert get("/compare", left="new", right="old")["judgement"]["state"] == "missing"
    gone = get("/compare", left="old", right="gone")
    assert (gone["left"]["state"], gone["right"]["state"], gone["movers"]["state"]) == ("ok", "missing", "broken")


@pytest.mark.usefixtures("shop")
def test_lists_of_two_runs_stand_side_by_side_with_names(get: Get) -> None:
    found = get("/lists", left="old", right="new", user_id="用户三")
    assert found["left"]["data"]["known"] is True
    assert {"item_id": "苹果", "name": "苹果"} in found["left"]["data"]["items"]
    assert get("/lists", left="old", right="new", user_id="nobody")["right"]["data"]["known"] is False


@pytest.mark.usefixtures("shop")
def test_a_plan_is_what_would_happen_and_offers_only_what_one_may(login: Login, page: str) -> None:
    plans = {
        role: login(role).get(f"{page}/api/plan", params={"action": "rollback"}).json() for role in ("viewer", "admin")
    }
    for found in plans.values():
        assert found["plan"] == {"from_run": "old", "to_run": "older", "ends_trial": "new", "latch": True}
    assert "dag_id" not in plans["viewer"]
    assert plans["admin"]["dag_id"] == "recommendation_rollback"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/compare", {"left": "../../etc", "right": "new"}),
        ("/compare", {"left": "old", "right": "old"}),
        ("/lists", {"left": "old", "right": "..", "user_id": "u1"}),
        ("/plan", {"action": "rollback", "run_id": "a/b"}),
        ("/plan", {"action": "release"}),
        ("/timeline", {"after": "x"}),
        ("/timeline", {"limit": 101}),
        ("/timeline", {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}),
        ("/lists", {"left": "old", "right": "new", "user_id": "x" * 301}),
    ],
)
def test_a_bad_wish_is_refused(login: Login, page: str, path: str, params: dict[str, str]) -> None:
    assert login("viewer").get(f"{page}/api{path}", params=params).status_code == 422


def test_what_did_not_change_is_not_sent_again(login: Login, page: str, shop: Stores) -> None:
    """Also behind a proxy that compresses, which makes the tag weak; and something new is sent at once."""
    client = login("viewer")
    url = f"{page}/api/timeline"
    params = {"end": "2030-01-01T00:00:00Z", "start": "2020-01-01T00:00:00Z"}
    first = client.get(url, params=params)
    tag = first.headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.get(url, params=params, headers={"if-none-match": sent})
        assert (again.status_code, again.content) == (304, b"")
    note(shop.paths, Event.VERIFIED, run_id="new")
    assert client.get(url, params=params, headers={"if-none-match": tag}).status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


def test_no_answer_holds_a_secret(
    login: Login, page: str, replicas: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the reload token, nor those of Prometheus and Alertmanager, whatever fails with them."""
    secrets = ["reload-secret-1", "prometheus-secret-2", "alertmanager-secret-3"]
    known = json.loads(connection(replicas))
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps({**known, "password": secrets[0]}))
    replicas[0].close()
    for name, secret in (("PROMETHEUS", secrets[1]), ("ALERTMANAGER", secrets[2])):
        monkeypatch.setenv(f"{name}_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{name}_TOKEN", secret)
    client = login("admin")
    for path in ("/me", "/desired", "/fleet", "/traffic", "/alerts", "/timeline", f"/releases/{RELEASE}", "/runs"):
        text = client.get(f"{page}/api{path}").text
        assert not [secret for secret in secrets if secret in text], path
    assert client.get(f"{page}/api/traffic").json()["state"] == "unreachable"
    assert client.get(f"{page}/api/alerts").json()["state"] == "unreachable"
