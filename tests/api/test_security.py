"""Who may change what is served, and that the token stays where it was configured."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from model_release.contract import LEASE_PATH, RELOAD_PATH
from tests.api.conftest import StartReplica
from tests.api.home import UNKNOWN
from tests.api.raw_http import say
from tests.api.replica import TOKEN, Replica, wait_until

WRONG: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN}x"},
]
DEVELOPMENT = {"RECOMMENDATION_API_DEVELOPMENT": "true"}
LEASE = {"release_id": "release-1", "generation": 1, "lease_seconds": 60}


@pytest.mark.parametrize("headers", WRONG)
def test_without_the_token_nothing_is_changed(replica: Replica, headers: dict[str, str]) -> None:
    """401 with the challenge, for a reload, a preparation and a lease, before the body is acted on."""
    before = replica.home.registry.read()
    bodies: list[tuple[str, Mapping[str, object]]] = [
        (RELOAD_PATH, {"run_id": "run-b"}),
        (RELOAD_PATH, {"run_id": "run-b", "prepare": True}),
        (RELOAD_PATH, {}),
        (LEASE_PATH, LEASE),
    ]
    for path, body in bodies:
        answer = replica.http.post(path, headers=headers, json=body)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    assert replica.home.registry.read() == before
    assert replica.serves("run-a")


def test_the_scheme_may_be_written_in_any_case(replica: Replica) -> None:
    """RFC 9110: the name of a scheme has no case."""
    answer = replica.http.post(RELOAD_PATH, headers={"Authorization": f"bearer {TOKEN}"}, json={"run_id": "run-b"})
    assert answer.status_code == 200


def test_reads_need_no_token(replica: Replica) -> None:
    """A shop, a probe and Prometheus have none."""
    for path in ("/models", "/metrics", "/health/live", "/health/ready", "/recommend/u1", "/similar/i1"):
        assert replica.http.get(path).status_code == 200


def test_without_a_configured_token_changes_are_refused(start: StartReplica) -> None:
    """Nobody may, whatever they send; reads go on."""
    replica = start(token=None)
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}):
        for path, body in ((RELOAD_PATH, {"run_id": "run-b"}), (LEASE_PATH, LEASE)):
            answer = replica.http.post(path, headers=headers, json=body)
            assert answer.status_code == 403
            assert "no MODEL_RELOAD_TOKEN is configured" in answer.json()["detail"]
    assert replica.serves("run-a")


def test_in_development_only_a_direct_call_from_loopback_may(start: StartReplica) -> None:
    """Behind a proxy everybody seems to come from loopback."""
    replica = start(token=None, settings=DEVELOPMENT)
    for name in ("Forwarded", "X-Forwarded-For"):
        answer = replica.http.post(RELOAD_PATH, headers={name: "203.0.113.7"}, json={"run_id": "run-b"})
        assert answer.status_code == 403
    assert replica.serves("run-a")
    assert replica.reload(run_id="run-b")["changed"] is True
    assert replica.serves("run-b")


def test_development_does_not_open_what_has_a_token(start: StartReplica) -> None:
    """A token that is configured is asked for, also on loopback."""
    replica = start(settings=DEVELOPMENT)
    assert replica.http.post(RELOAD_PATH, json={"run_id": "run-b"}).status_code == 401
    assert replica.reload(run_id="run-b")["changed"] is True


def test_the_token_may_come_from_a_file(start: StartReplica, tmp_path: Path) -> None:
    """As container platforms hand over secrets."""
    file = tmp_path / "token"
    file.write_text("token-from-a-file\n")
    replica = start(token=None, settings={"MODEL_RELOAD_TOKEN_FILE": str(file)})
    headers = {"Authorization": "Bearer token-from-a-file"}
    assert replica.http.post(RELOAD_PATH, headers=headers, json={"run_id": "run-b"}).status_code == 200


def test_no_token_is_ever_in_an_answer_a_log_or_a_state_file(start: StartReplica) -> None:
    """Neither the configured one nor a wrong one that somebody sent, however a call ends."""
    replica = start()
    wrong = "another-secret-77aa"
    answers: list[httpx.Response] = []
    for token in (TOKEN, wrong):
        headers = {"Authorization": f"Bearer {token}"}
        bodies = (b'{"run_id": "run-b"}', b'{"run_id": "run-x"}', b"{", b'{"unknown": 1}', b"")
        answers += [replica.http.post(RELOAD_PATH, headers=headers, content=body) for body in bodies]
        answers.append(replica.http.post(LEASE_PATH, headers=headers, json=LEASE))
        paths = ("/models", "/metrics", "/openapi.json", "/recommend/u1", "/health/ready", "/no-such-path")
        answers += [replica.http.get(path, headers=headers) for path in paths]
    replica.home.paths.registry.write_bytes(b"damaged")
    answers.append(replica.post(RELOAD_PATH, {"run_id": "run-a"}))
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 422, 503}
    replica.close()
    said = [answer.text + json.dumps(dict(answer.headers)) for answer in answers]
    files = [path.read_bytes().decode(errors="replace") for path in replica.home.paths.models.glob("*.json*")]
    for secret in (TOKEN, wrong):
        assert not [text for text in (*said, *files, replica.log) if secret in text]
    assert "still serving" in replica.log or "Shutting down" in replica.log


@pytest.mark.parametrize("body", [b"{", b'{"rollout": 7}', b"x" * 100_000])
def test_the_token_is_asked_for_before_the_body_is_read(replica: Replica, body: bytes) -> None:
    """Whoever has no token learns nothing about bodies."""
    assert replica.http.post(RELOAD_PATH, content=body).status_code == 401


@pytest.mark.parametrize("told", [True, False])
def test_a_large_body_is_refused(replica: Replica, told: bool) -> None:
    """Whether it says how long it is, or comes in pieces that don't."""
    pieces = [b'{"run_id": "run-b", "release_id": "', b"x" * 20_000, b'"}']
    content: bytes | Iterator[bytes] = b"".join(pieces) if told else iter(pieces)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = replica.http.post(RELOAD_PATH, headers=headers, content=content)
    assert (answer.status_code, answer.json()["title"]) == (413, "body too large")
    assert answer.headers["content-type"] == "application/problem+json"
    assert replica.serves("run-a")


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "é".encode().decode("latin-1"), "a\tb", '"a"', "a;b", "<a>"])
def test_a_request_id_that_is_not_plain_is_replaced(replica: Replica, given: str) -> None:
    """It would stand in a header and in other people's logs."""
    answer = replica.http.get("/recommend/u1", headers={b"X-Request-Id": given.encode("latin-1")})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] != given
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "escaped",
    ["%00", "u1%00", "%ff%fe", "%ed%a0%80", "%c0%af", "..%2f..%2fmodels", "%2e%2e/models", "u1%0d%0aX: 1", "%25"],
)
def test_no_id_is_more_than_an_id(replica: Replica, escaped: str) -> None:
    """NUL, bytes that are no UTF-8, half characters, ways up and line breaks: nobody has that id, and no log gets it."""
    for path, items in (("recommend", replica.home.expected("run-a", UNKNOWN)), ("similar", [])):
        said = say(replica.url, f"GET /{path}/{escaped.replace(' ', '%20')} HTTP/1.0\r\n\r\n".encode())
        assert said.status == 200
        answer = json.loads(said.body)
        assert (answer["items"], answer["known"], answer["degraded"]) == (items, False, None)
        assert "x" not in {name for name, _ in said.headers.items()}
    assert escaped not in replica.log


@pytest.mark.parametrize("query", ["k=1&k=2", "k=1&k=1", "k=1&k=", "a=1&k=1&b=2&k=3"])
def test_a_k_that_is_given_twice_is_refused(replica: Replica, query: str) -> None:
    """Two readers on the way might take different ones."""
    answer = replica.http.get(f"/recommend/u1?{query}")
    assert (answer.status_code, answer.json()["detail"]) == (422, "k is given more than once")


def test_the_document_can_be_switched_off(start: StartReplica) -> None:
    """Then nothing of it is left; the API works."""
    replica = start(settings={"RECOMMENDATION_API_DOCS": "false"})
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert replica.http.get(path).status_code == 404
    assert replica.serves("run-a")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files with a short path: that of a socket has a limit."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_the_folder_of_the_workers_is_private(start: StartReplica, temporary: Path) -> None:
    """Nobody else reaches the control sockets; its name can't be guessed, and nothing is left of it."""
    replica = start(settings={"TMPDIR": str(temporary), "RECOMMENDATION_API_WORKERS": "2"})
    (folder,) = temporary.glob("recommendation-api-*")
    wait_until("both workers listen", lambda: len(list(folder.glob("*.sock"))) == 2)
    status = folder.lstat()
    assert stat.S_ISDIR(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.getuid()
    assert len(folder.name.removeprefix("recommendation-api-")) >= 8
    replica.close()
    assert list(temporary.iterdir()) == []
