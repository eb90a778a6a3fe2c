"""Airflow 3 and Airflow 2 as their REST APIs answer: versions, logins, names that exist, outages, and no secret told."""

from __future__ import annotations

import httpx
import pytest

from model_release.adapters.airflow_api import AirflowApi, Login, airflow_address
from model_release.errors import AirflowError, AirflowRefusedError, AirflowUnreachableError, ConfigurationError
from tests.fakes_airflow import DAG, PASSWORD, Server

RUN = "commit__1"
LOGIN = Login(username="ci", password=PASSWORD)


def api(server: Server, login: Login = LOGIN) -> AirflowApi:
    return AirflowApi("http://airflow:8080/api/v1", login, transport=httpx.MockTransport(server))


@pytest.mark.parametrize("version", [3, 2])
def test_both_versions_trigger_once_and_are_read(version: int) -> None:
    """A DAG run of that name is not made twice; pages of tasks are put together; JSON text of an XCom is read."""
    server = Server(version)
    with api(server) as airflow:
        assert airflow.trigger(DAG, RUN, {"mode": "shadow"})
        assert not airflow.trigger(DAG, RUN, {"mode": "shadow"})
        assert server.runs == {RUN: {"mode": "shadow"}}
        assert not airflow.dag(DAG).is_paused
        assert [task.task_id for task in airflow.tasks(DAG, RUN)] == [f"t{number}" for number in range(130)]
        assert airflow.xcom(DAG, RUN, "close_release", "return_value") == {"phase": "verified"}
        assert airflow.xcom(DAG, RUN, "close_release", "rejection") is None


def test_an_expired_token_is_replaced_once() -> None:
    server = Server()
    with api(server) as airflow:
        airflow.dag(DAG)
        server.tokens.append("somebody else's")  # ours is not valid any more
        airflow.dag(DAG)
        server.fault = lambda asked: httpx.Response(401) if "/dags/" in asked.url.path else None
        before = len(server.seen)
        with pytest.raises(AirflowRefusedError) as caught:
            airflow.dag(DAG)
    assert caught.value.status == 401
    assert [path for _, path in server.seen[before:]].count("/auth/token") == 1


@pytest.mark.parametrize("login", [Login(username="ci", password="wrong-9c1d"), Login(token="wrong-token-9c1d")])
def test_a_wrong_login_is_refused_and_not_tried_again(login: Login) -> None:
    server = Server()
    with api(server, login) as airflow, pytest.raises(AirflowRefusedError) as caught:
        airflow.dag(DAG)
    assert caught.value.status == 401
    assert [path for _, path in server.seen].count("/auth/token") <= 1
    assert "9c1d" not in f"{caught.value!r} {login!r}"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_outage_is_told_from_a_refusal(status: int) -> None:
    with api(Server(fault=lambda _: httpx.Response(status))) as airflow, pytest.raises(AirflowUnreachableError):
        airflow.dag(DAG)


def test_a_lost_answer_of_a_trigger_may_be_asked_again() -> None:
    """It was made all the same: the repetition finds it, and makes no second one."""
    server = Server()

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and request.url.path.endswith("/dagRuns") and not server.runs:
            server.runs[RUN] = {}
            raise httpx.ReadError("connection lost", request=request)
        return None

    server.fault = lose
    with api(server) as airflow:
        with pytest.raises(AirflowUnreachableError):
            airflow.trigger(DAG, RUN, {})
        assert not airflow.trigger(DAG, RUN, {})


def test_no_error_repeats_the_password() -> None:
    """Not even of a server that sends back what it got, nor in what the error was raised from."""
    echo = Server(fault=lambda asked: httpx.Response(418, content=asked.content) if asked.content else None)
    with api(echo) as airflow, pytest.raises(AirflowError) as caught:
        airflow.dag(DAG)
    assert PASSWORD not in str(caught.value)
    assert "***" in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_airflow_is_refused() -> None:
    with api(Server(version=9)) as airflow, pytest.raises(AirflowRefusedError, match="neither"):
        airflow.dag(DAG)
    page = Server(fault=lambda _: httpx.Response(200, html="<p>welcome</p>"))
    with api(page) as airflow, pytest.raises(AirflowRefusedError, match="is this address an Airflow"):
        airflow.dag(DAG)
    away = Server(fault=lambda _: httpx.Response(302, headers={"Location": "https://elsewhere"}))
    with api(away) as airflow, pytest.raises(AirflowRefusedError):
        airflow.dag(DAG)
    assert all(path.startswith("/api/") for _, path in away.seen)  # a redirect is not followed


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://airflow.example.com/api/v2", "https://airflow.example.com"),
        ("https://airflow.example.com/team/api/v1/", "https://airflow.example.com/team"),
        ("airflow.example.com", "https://airflow.example.com"),
        ("airflow.example.com:8080/api/v2", "https://airflow.example.com:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("localhost.example.com", "https://localhost.example.com"),
    ],
)
def test_every_way_to_write_the_address(given: str, address: str) -> None:
    assert airflow_address(given) == address


@pytest.mark.parametrize("given", ["", "ftp://host", "http://ci:secret-1f@host", "http://host?x=1"])
def test_no_address(given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        airflow_address(given)
    assert "secret-1f" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"username": "ci"}, {"password": "x"}, {"username": "ci", "token": "x"}])
def test_a_login_is_one_whole_of_two(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        Login(**fields)
