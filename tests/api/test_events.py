"""``POST /events``: who may send, what is refused, and that all of a call is in the log or none of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from model_release.contract import utc_now
from model_release.exposures import Outcome
from recommendation_api import events
from tests.api.conftest import StartReplica
from tests.api.exposures import logged
from tests.api.home import Home
from tests.api.replica import TOKEN, Replica, wait_until

EVENTS_TOKEN = "events-token-51d0"
ON = {"RECOMMENDATION_API_EVENTS": "true", "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.05"}
WITH_TOKEN = {**ON, "RECOMMENDATION_EVENTS_TOKEN": EVENTS_TOKEN}
PURCHASE: dict[str, Any] = {"at": "2026-01-12T09:30:00+08:00", "user": "用户三", "item": "苹果", "type": "purchase"}


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(Home(tmp_path_factory.mktemp("home")), settings=WITH_TOKEN)
    try:
        yield replica.start_ready()
    finally:
        replica.close()


def send(replica: Replica, body: Any, *, token: str | None = EVENTS_TOKEN) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return replica.http.post("/events", content=content, headers={"Content-Type": "application/json", **headers})


def outcomes(replica: Replica) -> list[Outcome]:
    return [record for record in logged(replica.home.paths.root) if isinstance(record, Outcome)]


def test_one_or_several_events_are_taken_and_logged(listening: Replica) -> None:
    before = len(outcomes(listening))
    one = send(listening, {**PURCHASE, "request_id": "r-1"})
    several = send(listening, [PURCHASE, {**PURCHASE, "type": "added_to_wishlist"}])
    assert [(answer.status_code, answer.json()) for answer in (one, several)] == [
        (202, {"taken": 1}),
        (202, {"taken": 2}),
    ]
    wait_until("they are in the log", lambda: len(outcomes(listening)) == before + 3)
    first, second, third = outcomes(listening)[before:]
    assert (first.user, first.item, first.type, first.request_id) == ("用户三", "苹果", "purchase", "r-1")
    assert first.at == dt.datetime(2026, 1, 12, 1, 30, tzinfo=dt.UTC)
    assert utc_now() - first.received_at < dt.timedelta(minutes=1)
    assert (second.request_id, third.type) == (None, "added_to_wishlist")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": ""}, "user"),
        ({"user": "x" * 257}, "user"),
        ({"item": None}, "item"),
        ({"type": "Purchase!"}, "type"),
        ({"at": "2026-01-12T09:30:00"}, "expected a time with an offset"),
        ({"at": 1768210200}, "at"),
        ({"at": "2999-01-01T00:00:00Z"}, "lies in the future"),
        ({"at": "1969-12-31T23:59:59Z"}, "lies before 1970"),
        ({"request_id": "two words"}, "request_id"),
        ({"quantity": 2}, "quantity"),
    ],
)
def test_the_first_event_that_is_wrong_is_named_and_none_is_taken(
    listening: Replica, changes: dict[str, Any], said: str
) -> None:
    """Whoever sent a thousand wants to know which; the others are not half in the log."""
    before = len(outcomes(listening))
    answer = send(listening, [PURCHASE, {**PURCHASE, **changes}, {}])
    assert (answer.status_code, answer.json()["title"]) == (422, "invalid request")
    assert answer.json()["detail"].startswith("event 1")
    assert said in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert send(listening, PURCHASE).status_code == 202  # written after whatever came before it
    wait_until("the good one is there", lambda: len(outcomes(listening)) > before)
    assert len(outcomes(listening)) == before + 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"7", b'{"at": NaN}', b"\xff\xfe", b"\xef\xbb\xbf[]", b"{},{}",
     b'{"at":"2026-01-12T09:30:00Z","user":"\\ud800","item":"i","type":"view"}'],
)  # fmt: skip
def test_a_body_that_is_no_event_is_refused(listening: Replica, body: bytes) -> None:
    answer = send(listening, body)
    assert (answer.status_code, answer.json()["title"]) == (422, "invalid request"), answer.text


def test_two_events_are_a_list() -> None:
    """Not two objects with a comma between."""
    text = json.dumps(PURCHASE).encode()
    assert len(events.read(b" [" + text + b"," + text + b"]\n")) == 2
    with pytest.raises(ValueError, match="one list"):
        events.read(text + b"," + text)


def test_a_thousand_events_fit_and_one_more_does_not(listening: Replica) -> None:
    assert send(listening, [PURCHASE] * 1000).json() == {"taken": 1000}
    answer = send(listening, [PURCHASE] * 1001)
    assert answer.status_code == 422
    assert "at most 1000" in answer.json()["detail"]


@pytest.mark.parametrize("told", [True, False])
def test_a_large_body_is_refused(listening: Replica, told: bool) -> None:
    """One byte above a mebibyte, whether it says how long it is or comes in pieces."""
    body = json.dumps(PURCHASE).encode().ljust((1 << 20) + 1)
    headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    content: bytes | Iterator[bytes] = body if told else iter([body[:70_000], body[70_000:]])
    answer = listening.http.post("/events", content=content, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (413, "body too large")
    assert send(listening, body[:-1]).status_code == 202


@pytest.mark.parametrize("token", [None, "wrong", TOKEN])
def test_events_need_their_own_token(listening: Replica, token: str | None) -> None:
    """The token for reload does not open them, nor the other way round; and it is asked for before the body is read."""
    answer = send(listening, b"{", token=token)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "RECOMMENDATION_EVENTS_TOKEN" in answer.json()["detail"]
    reload = listening.http.post("/models/reload", headers={"Authorization": f"Bearer {EVENTS_TOKEN}"})
    assert reload.status_code == 401
    assert EVENTS_TOKEN not in listening.log


def test_without_a_token_events_are_refused_but_in_development(start: StartReplica) -> None:
    """As reload and lease are: a direct call from loopback, and no other."""
    closed = start("closed", settings=ON)
    answer = send(closed, PURCHASE, token=None)
    assert answer.status_code == 403
    assert "no RECOMMENDATION_EVENTS_TOKEN is configured: events are refused" in answer.json()["detail"]
    opened = start("opened", settings={**ON, "RECOMMENDATION_API_DEVELOPMENT": "true"})
    assert send(opened, PURCHASE, token=None).status_code == 202
    assert opened.http.post("/events", json=PURCHASE, headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 403


@pytest.mark.parametrize("body", [PURCHASE, b"{"])
def test_events_are_off_unless_switched_on(replica: Replica, body: Any) -> None:
    """404, whatever is sent, with the way to switch them on."""
    answer = send(replica, body, token=None)
    assert answer.status_code == 404
    assert "RECOMMENDATION_API_EVENTS=true" in answer.json()["detail"]


def test_a_log_that_takes_nothing_says_try_again(start: StartReplica) -> None:
    """Nothing is taken that would be lost; the answers go on; then it heals."""
    replica = start(settings=WITH_TOKEN)
    folder = replica.home.paths.exposures
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_bytes(b"in the way")
    assert send(replica, PURCHASE).status_code == 202  # which it can't know yet

    def refused() -> bool:
        answer = send(replica, PURCHASE)
        return (answer.status_code, answer.headers.get("retry-after")) == (503, "1")

    wait_until("the disk has refused", refused)
    assert replica.http.get("/recommend/u1").status_code == 200
    folder.unlink()
    wait_until("events are taken again", lambda: send(replica, PURCHASE).status_code == 202)


def test_the_route_is_in_the_openapi_document_with_examples(listening: Replica) -> None:
    operation = listening.http.get("/openapi.json").json()["paths"]["/events"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert events.read(json.dumps(example["value"]).encode())
    assert set(operation["responses"]) == {"202", "400", "401", "403", "404", "408", "413", "422", "503"}
