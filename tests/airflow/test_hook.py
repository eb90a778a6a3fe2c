"""The connection: which replicas there are, what the test button says, and what is refused."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from airflow.sdk import Connection

from model_release.errors import ConfigurationError, ReplicaUnreachableError
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.operators.links import ModelsLink
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.provider import get_provider_info
from tests.airflow.replica_server import ReplicaServer

TOKEN = "reload-token-for-tests"


def addresses(**fields: Any) -> list[str]:
    extra = fields.pop("extra", {})
    connection = Connection(conn_id="api", conn_type="recommendation_api", extra=json.dumps(extra), **fields)
    return RecommendationApiHook("api").addresses(connection)


def test_host_and_port_are_one_replica() -> None:
    assert addresses(host="api.example", port=8000) == ["http://api.example:8000"]
    assert addresses(host="api.example", schema="https") == ["https://api.example"]


@pytest.mark.parametrize(
    "listed", [["http://a:1", "http://b:2", "http://a:1"], "http://a:1, http://b:2", "http://a:1 http://b:2"]
)
def test_a_list_of_replicas_goes_before_the_host(listed: object) -> None:
    assert addresses(host="ignored", extra={"replicas": listed}) == ["http://a:1", "http://b:2"]


def test_every_address_of_a_name_is_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DNS of a headless service gives them; an IPv6 address gets its brackets."""
    found = [
        (0, 0, 0, "", ("10.0.0.7", 8000)),
        (0, 0, 0, "", ("10.0.0.6", 8000)),
        (0, 0, 0, "", ("fd00::1", 8000, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    urls = addresses(host="replicas.example", port=8000, extra={"every_address": True})
    assert urls == ["http://10.0.0.6:8000", "http://10.0.0.7:8000", "http://[fd00::1]:8000"]


def test_a_name_that_does_not_resolve_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(ReplicaUnreachableError, match=r"replicas\.example does not resolve"):
        addresses(host="replicas.example", port=8000, extra={"every_address": True})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "neither a host nor a list"),
        ({"extra": {"replicas": {"a": 1}}}, "must be a list"),
        ({"extra": {"replicas": ["http://user:secret@a:1"]}}, "holds credentials"),
        ({"host": "a", "schema": "https", "extra": {"every_address": True}}, "list the replicas by name"),
    ],
)
def test_what_is_no_fleet_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        addresses(**fields)
    assert "secret" not in str(caught.value)


def test_the_test_button_says_what_every_replica_serves(fleet: list[ReplicaServer]) -> None:
    good, said = RecommendationApiHook("recommendation_api").test_connection()
    assert good
    for server in fleet:
        assert f"{server.url}: 1 of 1 workers serve old at generation" in said
    assert TOKEN not in said


def test_the_test_button_names_the_replica_that_is_down(fleet: list[ReplicaServer]) -> None:
    fleet[1].status = 503
    good, said = RecommendationApiHook("recommendation_api").test_connection()
    assert not good
    assert fleet[1].url in said


def test_the_link_leads_to_what_is_served(fleet: list[ReplicaServer]) -> None:
    operator = RunVerifyOperator(task_id="verify", run_id="new")
    links = {one.name: one.get_link(operator, ti_key=None) for one in operator.operator_extra_links}  # type: ignore[arg-type]
    assert links == {
        "Models served now": f"{fleet[0].url}/models",
        "Models served now, replica 2": f"{fleet[1].url}/models",
        "Models served now, replica 3": "",
        "Models served now, replica 4": "",
    }
    assert len({one.xcom_key for one in operator.operator_extra_links}) == len(links)
    assert ModelsLink().xcom_key == "_link_ModelsLink"


def test_a_name_that_does_not_resolve_has_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is no reason for a traceback in the log of every task."""
    unknown = {"conn_type": "recommendation_api", "host": "replicas.invalid", "extra": {"every_address": True}}
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", json.dumps(unknown))
    assert ModelsLink().get_link(RunVerifyOperator(task_id="verify", run_id="new"), ti_key=None) == ""  # type: ignore[arg-type]


def test_the_provider_describes_what_is_there() -> None:
    """Airflow imports these by name: a class that moved would break the UI, not a test."""
    info = get_provider_info()
    (kind,) = info["connection-types"]
    assert kind["connection-type"] == RecommendationApiHook.conn_type
    named = [kind["hook-class-name"], *info["notifications"], *info["extra-links"]]
    for path in named:
        module, _, name = path.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)
    assert kind["ui-field-behaviour"] == RecommendationApiHook.get_ui_field_behaviour()
