"""Every error is an RFC 9457 problem document, whoever makes it: the contract, the framework or a model."""

from __future__ import annotations

import httpx
import pytest

from model_release import errors
from model_release.contract import Problem
from recommendation_api.problems import STATUSES, RegistryBehindError, ShuttingDownError, status_of
from tests.api.replica import TOKEN, Replica

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def check(answer: httpx.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == status
    assert problem.title
    return problem


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no-such-path", 404),
        ("GET", "/", 404),
        ("POST", "/recommend/u1", 405),
        ("DELETE", "/models", 405),
        ("GET", "/models/reload", 405),
        ("PUT", "/models/lease", 405),
        ("GET", "/recommend/", 422),
        ("GET", "/similar/", 422),
        ("GET", f"/recommend/{'x' * 257}", 422),
        ("GET", f"/similar/{'苹' * 257}", 422),
        ("GET", "/recommend/u1?k=0", 422),
        ("POST", "/models/lease", 422),
    ],
)
def test_every_wrong_address_or_method_is_told_so(replica: Replica, method: str, path: str, status: int) -> None:
    """Also where no function of the API was reached."""
    answer = replica.http.request(method, path, headers=AUTHORIZED)
    detail = check(answer, status).detail
    assert detail
    if status == 404:
        assert repr(path) in detail
        assert "GET /docs" in detail
    if status == 405:
        assert answer.headers["allow"] in detail


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        (b'"run-b"', 422),
        (b"\xff\xfe", 422),
        (b'{"run_id": "run-b", "mode": "canary", "rollout": NaN}', 422),
        (b'{"run_id": "run-b", "mode": "canary", "rollout": 1e999}', 422),
        (b'{"run_id": "\\ud800"}', 422),
        (b'{"\\ud800": 1}', 422),
        (b"[" * 16_000, 400),
        (b"[" * 100_000, 413),
    ],
)
def test_a_malformed_body_is_told_so(replica: Replica, body: bytes, status: int) -> None:
    """Text that is no JSON, JSON that is no object, numbers that are none, characters that are none."""
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    check(replica.http.post("/models/reload", headers=headers, content=body), status)
    assert replica.serves("run-a")


def test_a_problem_says_which_field_is_wrong(replica: Replica) -> None:
    """The name of the field, and the rule in words."""
    answer = replica.post("/models/reload", {"run_id": "run-b", "mode": "canary", "rollout": 2})
    assert "rollout is 2, expected" in check(answer, 422).detail
    answer = replica.post("/models/reload", {"run_id": "run-b", "speed": 9})
    assert "speed: unknown key; there are generation, lease_seconds, mode" in check(answer, 422).detail
    answer = replica.post("/models/reload", {"run_di": "run-b"})
    assert check(answer, 422).detail == "run_di: unknown key, did you mean 'run_id'?"
    answer = replica.post("/models/reload", {"run_id": "run-b", "mode": "shadow"})
    assert "the share of requests" in check(answer, 422).detail
    answer = replica.post("/models/reload", {"run_id": "run-b", "mode": "canary"})
    assert "the share of users" in check(answer, 422).detail


def test_every_error_of_the_project_has_a_status() -> None:
    """An artifact is 424, a conflict 409, an outage 503; what nobody thought of is 500."""
    conflict = errors.GenerationConflictError(expected=1, actual=2)
    found = {type(error): status_of(error)[0] for error in (
        errors.InvalidInputError(""),
        errors.InvalidRunIdError(""),
        errors.RunNotFoundError(""),
        errors.RunExistsError(""),
        errors.ArtifactInvalidError(""),
        errors.GoldenMismatchError(""),
        conflict,
        errors.LatchedError(""),
        errors.IllegalMoveError(""),
        errors.GateMissingError(""),
        errors.StateBusyError(""),
        errors.StateCorruptError(""),
        RegistryBehindError(""),
        ShuttingDownError(""),
        errors.ModelReleaseError(""),
    )}  # fmt: skip
    assert list(found.values()) == [422, 422, 404, 409, 424, 424, 409, 409, 409, 409, 503, 503, 503, 503, 500]


def test_no_row_of_the_table_hides_a_later_one() -> None:
    """The first class that fits counts, so a class never comes after its base."""
    kinds = [kind for kind, _, _ in STATUSES]
    for number, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:number])


@pytest.mark.parametrize(
    "path", ["/recommend/u1", "/similar/i1", "/models", "/health/live", "/health/ready", "/metrics"]
)
def test_what_can_be_read_can_be_asked_for_by_head(replica: Replica, path: str) -> None:
    """A probe may do so: the same status and headers, and no body; any other method is told both."""
    read, asked = replica.http.get(path), replica.http.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert set(asked.headers) == set(read.headers)
    for method in ("OPTIONS", "PUT", "DELETE", "TRACE"):
        answer = replica.http.request(method, path)
        check(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/models/reload", "/models/lease"])
def test_what_changes_something_is_no_read(replica: Replica, path: str) -> None:
    """HEAD and GET are refused alike."""
    for method in ("HEAD", "GET", "OPTIONS"):
        answer = replica.http.request(method, path, headers=AUTHORIZED)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/models/reload/", "//models/reload", "/models/", "/Models"])
def test_no_address_is_redirected(replica: Replica, path: str) -> None:
    """The token would travel to whatever host the request named."""
    headers = {**AUTHORIZED, "Host": "elsewhere"}
    answer = replica.http.post(f"{replica.url}{path}", headers=headers)
    check(answer, 404)
    assert "elsewhere" not in str(answer.headers) + answer.text
