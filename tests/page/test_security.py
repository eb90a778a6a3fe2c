"""Nobody sees data, or acts, without Airflow's permission for it; whatever route is added later."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from model_release_airflow.page.app import create_page
from model_release_airflow.page.routes import make_router
from tests.airflow_home import ROLES
from tests.page.conftest import Login

PUBLIC = {("/", frozenset({"GET"}))}  # the frame: no data
_PERMISSION = "requires_access_dag.<locals>.inner"


def _asked(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        yield getattr(inner.call, "__qualname__", "")
        yield from _asked(inner)


def unguarded(routes: list[BaseRoute]) -> list[str]:
    """Return the routes that do not ask Airflow whether this user may, public ones left out."""
    found = []
    for route in routes:
        if isinstance(route, Mount) and route.path == "/static":
            continue
        if not isinstance(route, APIRoute):
            found.append(repr(route))
        elif (route.path, frozenset(route.methods)) not in PUBLIC and _PERMISSION not in _asked(route.dependant):
            found.append(route.path)
    return found


def _paths() -> list[str]:
    """Return an address for every route that reads."""
    routes = [route for route in make_router().routes if isinstance(route, APIRoute) and "GET" in route.methods]
    return [
        route.path.replace("{release_id}", "none").replace("{fingerprint}", "none").replace("{run_id}", "none")
        for route in routes
    ]


def _nothing() -> dict[str, str]:
    return {}


def test_every_route_asks_airflow() -> None:
    app = create_page()
    assert len([route for route in app.routes if isinstance(route, APIRoute)]) > len(PUBLIC)
    assert unguarded(list(app.routes)) == []


def test_a_route_without_permission_is_found() -> None:
    """The test above can fail."""
    app = create_page()
    app.add_api_route("/more", _nothing, methods=["GET"])
    app.mount("/elsewhere", FastAPI())
    assert len(unguarded(list(app.routes))) == 2


@pytest.mark.parametrize("path", _paths())
def test_a_forged_token_reads_nothing(anybody: TestClient, page: str, path: str) -> None:
    assert anybody.get(page + path, headers={"authorization": "Bearer e30.e30.e30"}).status_code == 403


SAID = {"reason": "we look at it", "minutes": 30}
# Who may: anybody; who reads the page's DAG; who may trigger a rollback.  A new route has to be put here.
EXPECTED = {
    ("GET", "/"): "anybody",
    ("GET", "/api/me"): "reader",
    ("GET", "/api/desired"): "reader",
    ("GET", "/api/fleet"): "reader",
    ("GET", "/api/traffic"): "reader",
    ("GET", "/api/alerts"): "reader",
    ("GET", "/api/health"): "reader",
    ("GET", "/api/timeline"): "reader",
    ("GET", "/api/releases/{release_id}"): "reader",
    ("GET", "/api/releases/{release_id}/behind"): "reader",
    ("GET", "/api/dag-run"): "reader",
    ("GET", "/api/runs"): "reader",
    ("GET", "/api/compare"): "reader",
    ("GET", "/api/lists"): "reader",
    ("GET", "/api/plan"): "reader",
    ("POST", "/api/alerts/{fingerprint}/acknowledge"): "rollback",
}
NOBODY, NOT_ALLOWED = 401, 403


def _refusals(client: TestClient, page: str) -> dict[tuple[str, str], int]:
    """Ask every route of the app; return those that refuse, with the status."""
    found = {}
    for method, path in EXPECTED:
        address = page + path.replace("{release_id}", "none").replace("{fingerprint}", "none")
        answer = client.request(method, address, json=SAID if method == "POST" else None)
        if answer.status_code in {NOBODY, NOT_ALLOWED}:
            found[(method, path)] = answer.status_code
    return found


def test_who_may_is_written_down_for_every_route() -> None:
    routes = [route for route in create_page().routes if isinstance(route, APIRoute)]
    assert {(method, route.path) for route in routes for method in route.methods} == EXPECTED.keys()


@pytest.mark.parametrize("cookie", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_from_each_route_what_is_written_down(login: Login, page: str, role: str, cookie: bool) -> None:
    refused = {route for route, who in EXPECTED.items() if who == "rollback" and role == "viewer"}
    assert _refusals(login(role, cookie=cookie), page) == dict.fromkeys(refused, NOT_ALLOWED)


def test_who_is_not_logged_in_gets_the_frame_alone(anybody: TestClient, page: str) -> None:
    refused = {route for route, who in EXPECTED.items() if who != "anybody"}
    assert _refusals(anybody, page) == dict.fromkeys(refused, NOBODY)


def test_who_may_not_read_the_dag_gets_the_frame_alone(
    login: Login, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another auth manager may say so, of anybody: whatever role they have elsewhere."""
    client = login("admin", cookie=True)
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", lambda *_, **__: False)
    refused = {route for route, who in EXPECTED.items() if who != "anybody"}
    assert _refusals(client, page) == dict.fromkeys(refused, NOT_ALLOWED)


ACKNOWLEDGE = "/api/alerts/none/acknowledge"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("user", 503), ("op", 503), ("admin", 503)])
def test_only_who_may_roll_back_acknowledges(login: Login, page: str, role: str, status: int) -> None:
    """An acknowledged alert starts no rollback.  Here there is no Alertmanager: who may, is told that."""
    answer = login(role, cookie=True).post(page + ACKNOWLEDGE, json=SAID)
    assert answer.status_code == status
    assert ("ALERTMANAGER_URL" in answer.text) is (status == 503)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": ""}, 415),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://airflow.example:8081"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://airflow.example:8080", "sec-fetch-site": "same-origin"}, 503),
    ],
)
def test_no_other_site_makes_a_browser_act(login: Login, page: str, headers: dict[str, str], status: int) -> None:
    """With the cookie that the browser would send along: a form, a script of another origin, a neighbour."""
    given = {"content-type": "application/json", **headers}
    answer = login("admin", cookie=True).post(page + ACKNOWLEDGE, content=json.dumps(SAID), headers=given)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("base_url", "origin", "status"),
    [
        ("https://shop.example/airflow/", "https://shop.example", 503),  # as the browser has it
        ("https://shop.example/airflow/", "http://shop.example", 403),  # somebody on the line
        ("https://shop.example/airflow/", "https://shop.example:8443", 403),
        ("https://shop.example/airflow/", "https://shop.example.evil.example", 403),
        ("https://shop.example/airflow/", "null", 403),
        ("", "null", 403),
        ("", "https://shop.example", 403),
        ("", "https://inside:8080", 503),  # the proxy takes HTTPS and hands the host on
        ("", "http://", 403),
        ("", "http://[", 403),
        ("", "", 403),
    ],
)
def test_behind_a_proxy_the_origin_is_that_of_airflows_address(
    login: Login, page: str, monkeypatch: pytest.MonkeyPatch, base_url: str, origin: str, status: int
) -> None:
    """The proxy ends HTTPS and asks by another name; a header that says where it came from is not believed."""
    client = login("admin", cookie=True)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    headers = {
        "origin": origin,
        "host": "inside:8080",
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
    }
    assert client.post(page + ACKNOWLEDGE, json=SAID, headers=headers).status_code == status


def test_nothing_is_changed_by_a_get() -> None:
    """A link or an image of another site sends the cookie along; it changes nothing."""
    changing = [route for route in make_router().routes if isinstance(route, APIRoute) and not route.methods <= {"GET"}]
    assert [route.path for route in changing] == ["/api/alerts/{fingerprint}/acknowledge"]
    for route in changing:
        asked = list(_asked(route.dependant))
        assert asked.count(_PERMISSION) == 2  # to read, and to act
        assert "from_here" in asked


def test_what_a_role_may_do_is_what_airflow_says(login: Login, page: str) -> None:
    """A viewer only reads; everybody above may trigger."""
    may = {role: login(role).get(f"{page}/api/me").json() for role in ROLES}
    assert [may[role]["may_roll_back"] for role in ROLES] == [False, True, True, True]
    assert [may[role]["may_release"] for role in ROLES] == [False, True, True, True]
    assert [may[role]["may_acknowledge"] for role in ROLES] == [False, True, True, True]
    assert [may[role]["may_latch"] for role in ROLES] == [False, True, True, True]
    assert may["viewer"]["name"] == "viewer"


def test_the_frame_is_public_and_locked_up(anybody: TestClient, page: str) -> None:
    """No script but our files' runs in it, and no other site frames it."""
    answer = anybody.get(f"{page}/")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/none", "/static/app.js", "/static/none.js", "/api/plan"])
def test_every_answer_is_locked_up(login: Login, page: str, path: str) -> None:
    """Data, files and errors too: none is a page that somebody frames or that a browser takes for another kind."""
    headers = login("admin").get(page + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/static/../app.py", "/static/%2e%2e/app.py"])
def test_nothing_else_is_open(anybody: TestClient, page: str, path: str) -> None:
    answer = anybody.get(page + path)
    assert answer.status_code == 404
    assert "model_release" not in answer.text
