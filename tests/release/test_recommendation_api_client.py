"""The client of one replica: what it sends, and what becomes of every kind of answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import httpx
import pytest

from model_release.adapters.addresses import check_url
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.contract import Answer, LeaseRequest, ReloadRequest
from model_release.errors import ConfigurationError, ReplicaError, ReplicaRefusedError, ReplicaUnreachableError

URL = "http://replica-1:8000"
TOKEN = "client-token-5f0a"
RECEIPT = {
    "status": "serving",
    "changed": True,
    "mode": "primary",
    "run_id": "run-a",
    "generation": 3,
    "workers": 2,
}
ANSWER = {"run_id": "run-a", "variant": "current", "items": ["i1"], "known": True}
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, *, url: str = URL, token: str | None = TOKEN) -> RecommendationApiClient:
    return RecommendationApiClient(url, token=token, transport=httpx.MockTransport(handler))


def answering(status: int, body: object = None, **headers: str) -> Handler:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(status, content=content, headers=headers)


def problem(status: int, title: str = "conflict", detail: str = "why") -> Handler:
    return answering(status, {"type": "about:blank", "title": title, "status": status, "detail": detail})


def test_a_reload_is_sent_as_the_contract_says() -> None:
    """Only what was said, with the token; the receipt comes back typed."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=RECEIPT)

    with client(handler) as api:
        receipt = api.reload(ReloadRequest(run_id="run-a", generation=3))
        api.reload(ReloadRequest())
    assert (receipt.run_id, receipt.generation, receipt.workers) == ("run-a", 3, 2)
    assert [(request.method, request.url.path) for request in seen] == [("POST", "/models/reload")] * 2
    assert [json.loads(request.content) for request in seen] == [{"run_id": "run-a", "generation": 3}, {}]
    assert {request.headers["authorization"] for request in seen} == {f"Bearer {TOKEN}"}
    assert {request.headers["content-type"] for request in seen} == {"application/json"}


def test_without_a_token_no_header_is_sent() -> None:
    """Development mode on loopback."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=RECEIPT)

    client(handler, token=None).reload(ReloadRequest())
    assert "authorization" not in seen[0].headers


@pytest.mark.parametrize("user", ["u1", "a/b", "a b", "100%", "?k=1", "用户三", "#"])
def test_an_id_is_one_part_of_the_path(user: str) -> None:
    """Whatever it holds, the replica gets that very id, and k."""
    seen: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, json=ANSWER)

    api = client(handler)
    assert api.recommend(user, 7) == Answer.model_validate(ANSWER)
    api.similar(user, 7)
    assert [url.path for url in seen] == [f"/recommend/{user}", f"/similar/{user}"]
    assert [url.params["k"] for url in seen] == ["7", "7"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 422, 424, 301, 307, 204])
def test_a_refusal_is_not_worth_a_retry(status: int) -> None:
    """Every answer that is neither 200 nor an outage, with its status, title and reason."""
    with pytest.raises(ReplicaRefusedError) as caught:
        client(problem(status)).reload(ReloadRequest())
    assert (caught.value.status, caught.value.title, caught.value.replica) == (status, "conflict", URL)
    assert str(caught.value) == f"POST {URL}/models/reload answered {status} conflict: why"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_outage_is_worth_a_retry(status: int) -> None:
    """The replica, or something before it, can't answer now."""
    with pytest.raises(ReplicaUnreachableError, match=f"answered {status} busy: later") as caught:
        client(problem(status, "busy", "later")).models()
    assert caught.value.replica == URL


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError]
)
def test_a_lost_connection_is_an_outage(error: type[httpx.TransportError]) -> None:
    """The message says what was tried and what went wrong."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise error("gone")

    with pytest.raises(ReplicaUnreachableError, match=f"GET {URL}/models failed: {error.__name__}: gone"):
        client(handler).models()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", json.dumps({**RECEIPT, "workers": 0}).encode()])
def test_a_200_that_is_not_the_contract_is_a_refusal(body: bytes) -> None:
    """A proxy's welcome page is not a receipt: never a success."""
    with pytest.raises(ReplicaRefusedError, match="something else than a ReloadReceipt") as caught:
        client(answering(200, body)).reload(ReloadRequest())
    assert caught.value.title == "not the contract"


def test_an_error_that_is_no_problem_document_is_quoted_in_short() -> None:
    """HTML of a proxy: its beginning, and the status."""
    with pytest.raises(ReplicaUnreachableError) as caught:
        client(answering(502, b"<html>" + b"x" * 10_000)).models()
    assert "answered 502 Bad Gateway: <html>xxx" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_redirect_is_not_followed() -> None:
    """The token would travel to whoever is named there."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(307, headers={"location": "http://elsewhere/"})

    with pytest.raises(ReplicaRefusedError):
        client(handler).reload(ReloadRequest())
    assert seen == ["replica-1"]


def test_a_replica_that_does_not_answer_is_given_up() -> None:
    """A listener that never accepts: reads and reloads have a limit each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with RecommendationApiClient(url, timeout_seconds=0.05, reload_timeout_seconds=0.1) as api:
            with pytest.raises(ReplicaUnreachableError, match="ReadTimeout"):
                api.models()
            with pytest.raises(ReplicaUnreachableError, match="ReadTimeout"):
                api.reload(ReloadRequest())
            assert api.ready() is False


def test_a_reload_may_take_longer_than_a_read() -> None:
    """It loads and checks a whole run; connecting has its own short limit."""
    seen: list[dict[str, float]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        if request.method == "POST":
            return httpx.Response(200, json=RECEIPT)
        return httpx.Response(200, json=ANSWER)

    transport = httpx.MockTransport(handler)
    api = RecommendationApiClient(URL, timeout_seconds=3, reload_timeout_seconds=90, transport=transport)
    api.recommend("u1")
    api.reload(ReloadRequest())
    assert [limits["read"] for limits in seen] == [3, 90]
    assert seen[1]["connect"] == 10


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (404, False), (204, False)])
def test_only_200_is_ready(status: int, ready: bool) -> None:
    """Nothing else, and no answer is no as well."""
    assert client(answering(status)).ready() is ready


def test_the_token_is_in_no_error() -> None:
    """Whatever goes wrong, and however deep one looks."""

    def broken(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    lease = LeaseRequest(release_id="r1", generation=1, lease_seconds=60)
    for handler in (broken, problem(401), problem(503), answering(200, b"?"), answering(500, b"<html>")):
        api = client(handler)
        calls: list[Callable[[], object]] = [lambda: api.reload(ReloadRequest()), lambda: api.lease(lease), api.models]  # noqa: B023
        for call in calls:
            with pytest.raises(ReplicaError) as caught:
                call()
            assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__dict__}"
    assert TOKEN not in repr(client(broken))


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN} {TOKEN}", f"{TOKEN}é", f"{TOKEN}\x00"])
def test_a_token_that_can_not_be_sent_is_refused_without_being_shown(token: str) -> None:
    """A line break from a file would end up in the HTTP library's error."""
    with pytest.raises(ConfigurationError) as caught:
        client(problem(401), token=token)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host", "http://host"),
        (" https://host:8000/ ", "https://host:8000"),
        ("http://host/base/", "http://host/base"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_base_address_is_taken_without_its_last_slash(given: str, url: str) -> None:
    """Paths are appended to it, also below another path."""
    assert check_url(given) == url
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=ANSWER)

    client(handler, url=given).recommend("u1", 3)
    assert seen == [f"{url}/recommend/u1?k=3"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:8000",
        "ftp://host",
        "http://",
        "http://host:http",
        "http://host:99999",
        "http://[::1",
        "http://host?token=very-secret",
        "http://host#very-secret",
        "http://user:very-secret@host",
        "http://very-secret@host",
        "http://user:very-secret/1@host",
    ],
)
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    """A configuration error, which never repeats what may be a secret."""
    with pytest.raises(ConfigurationError) as caught:
        RecommendationApiClient(url, token=TOKEN)
    assert "very-secret" not in str(caught.value)
