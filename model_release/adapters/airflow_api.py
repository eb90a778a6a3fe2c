"""Airflow's REST API, as far as a release needs it: Airflow 3 (``/api/v2``, a token) and Airflow 2 (``/api/v1``, basic auth)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model_release.adapters.addresses import bearer, check_url
from model_release.adapters.replica_http import ReplicaHttp
from model_release.errors import (
    AirflowRefusedError,
    AirflowUnreachableError,
    ConfigurationError,
    ReplicaRefusedError,
    ReplicaUnreachableError,
)

Version = Literal["v2", "v1"]
VERSIONS: tuple[Version, ...] = ("v2", "v1")  # Airflow 2 has no v2, Airflow 3 no v1
_TOKEN_PATH = "/auth/token"  # noqa: S105  (a path)
_PAGE = 100  # the most that Airflow gives
_HERE = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Login:
    """Who asks: a token, or a name and a password; no representation shows either secret."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raise ``ConfigurationError`` unless it is exactly one of the two."""
        named = bool(self.username and self.password)
        if bool(self.token) == bool(self.username or self.password) or not (self.token or named):
            raise ConfigurationError("a login is a username and a password, or a token: give one of the two, whole")
        bearer(self.token)


class _Body(BaseModel):
    """An answer of Airflow's; newer servers say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Dag(_Body):
    """A DAG."""

    dag_id: str
    is_paused: bool


class DagRun(_Body):
    """A DAG run: ``state`` is Airflow's word."""

    dag_run_id: str
    state: str
    conf: Mapping[str, Any] | None = None


class TaskInstance(_Body):
    """A task of a DAG run: ``state`` is None before it is scheduled; ``duration`` in seconds."""

    task_id: str
    state: str | None
    map_index: int = -1
    try_number: int = 0
    start_date: AwareDatetime | None = None
    end_date: AwareDatetime | None = None
    duration: float | None = None


class _Tasks(_Body):
    task_instances: tuple[TaskInstance, ...]
    total_entries: int


class _XCom(_Body):
    value: Any = None


class _Token(_Body):
    access_token: str = Field(min_length=1)


_Kind = TypeVar("_Kind", bound=BaseModel)


def airflow_address(given: str) -> str:
    """Return the address of Airflow itself: without ``/api/v2`` or ``/api/v1``, and with a scheme.

    A bare host gets ``https``, or ``http`` if it is this machine: a password does not travel in the clear by default.

    Raises:
        ConfigurationError: it is no address, or holds credentials.
    """
    text = given.strip()
    if text and "://" not in text:
        host = text.partition("/")[0]
        name = host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0] or host
        text = f"{'http' if name in _HERE else 'https'}://{text}"
    url = check_url(text, of="Airflow")
    for version in VERSIONS:
        url = url.removesuffix(f"/api/{version}")
    return url.removesuffix("/api").rstrip("/")


class AirflowApi:
    """One Airflow.

    Outages raise ``AirflowUnreachableError``, every other answer that was not wanted ``AirflowRefusedError``.  Which
    version it speaks is found out with the first call; an expired token is replaced once.  No message holds a secret.
    """

    def __init__(
        self, url: str, login: Login, *, timeout_seconds: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            url: as a person has it; see :func:`airflow_address`.
            login: who asks.
            timeout_seconds: of one call.
            transport: another transport, for tests.

        Raises:
            ConfigurationError: the address is not usable.
        """
        self.url = airflow_address(url)
        self._login = login
        self._options: dict[str, Any] = {
            "timeout_seconds": timeout_seconds,
            "transport": transport,
            "trust_env": True,  # a CI runner may have to take a proxy
        }
        self._secrets = [login.password, login.token]
        self._version: Version | None = None
        self._http: ReplicaHttp | None = None

    def close(self) -> None:
        """Close its connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def run_url(self, dag_id: str, dag_run_id: str) -> str:
        """Return where people see a DAG run."""
        if self._version == "v1":
            return f"{self.url}/dags/{_part(dag_id)}/grid?{urlencode({'dag_run_id': dag_run_id})}"
        return f"{self.url}/dags/{_part(dag_id)}/runs/{_part(dag_run_id)}"

    def dag(self, dag_id: str) -> Dag:
        """Return a DAG."""
        return self._get(Dag, f"/dags/{_part(dag_id)}")

    def trigger(self, dag_id: str, dag_run_id: str, conf: Mapping[str, Any]) -> bool:
        """Make a DAG run; return False if there is one of that name already.  May be repeated if the answer got lost."""
        body: dict[str, Any] = {"dag_run_id": dag_run_id, "conf": dict(conf)}
        if self._speaks() == "v2":
            body["logical_date"] = None  # has to be there; Airflow 2 refuses it
        try:
            self._api("POST", f"/dags/{_part(dag_id)}/dagRuns", body=body)
        except AirflowRefusedError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    def dag_run(self, dag_id: str, dag_run_id: str) -> DagRun:
        """Return a DAG run."""
        return self._get(DagRun, f"/dags/{_part(dag_id)}/dagRuns/{_part(dag_run_id)}")

    def tasks(self, dag_id: str, dag_run_id: str) -> list[TaskInstance]:
        """Return every task of a DAG run."""
        found: list[TaskInstance] = []
        while True:
            path = f"/dags/{_part(dag_id)}/dagRuns/{_part(dag_run_id)}/taskInstances?limit={_PAGE}&offset={len(found)}"
            page = self._get(_Tasks, path)
            found += page.task_instances
            if not page.task_instances or len(found) >= page.total_entries:
                return found

    def xcom(self, dag_id: str, dag_run_id: str, task_id: str, key: str) -> Any:
        """Return what a task left under ``key``; None: nothing."""
        path = (
            f"/dags/{_part(dag_id)}/dagRuns/{_part(dag_run_id)}/taskInstances/{_part(task_id)}/xcomEntries/{_part(key)}"
        )
        try:
            value = self._get(_XCom, f"{path}?stringify=false").value
        except AirflowRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return _decoded(value)

    def _get(self, kind: type[_Kind], path: str) -> _Kind:
        return self._read(kind, self._api("GET", path), path)

    def _read(self, kind: type[_Kind], answer: bytes, path: str) -> _Kind:
        try:
            return kind.model_validate_json(answer)
        except ValidationError as error:
            raise AirflowRefusedError(
                f"{self.url} answered {path} with something else than a {kind.__name__.strip('_')}: "
                f"{error.error_count()} problems; is this address an Airflow?",
                status=HTTPStatus.OK,
            ) from None  # the cause would show what was answered, and that may be a token

    def _api(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> bytes:
        """Call the API of the server's version; log in first, and once again if the token has expired."""
        path = f"/api/{self._speaks()}{path}"
        fresh = self._http is None
        try:
            return self._ask(self._logged_in(), method, path, body)
        except AirflowRefusedError as error:
            if error.status != HTTPStatus.UNAUTHORIZED or fresh or self._login.token or self._version == "v1":
                raise
        self.close()
        return self._ask(self._logged_in(), method, path, body)

    def _speaks(self) -> Version:
        if self._version is None:
            with closing(ReplicaHttp(self.url, headers={}, secrets=self._secrets, **self._options)) as http:
                for version in VERSIONS:
                    try:
                        self._ask(http, "GET", f"/api/{version}/version")
                    except AirflowRefusedError as error:
                        if error.status != HTTPStatus.NOT_FOUND:
                            raise
                    else:
                        self._version = version
                        return version
            raise AirflowRefusedError(
                f"{self.url} has neither /api/v2 nor /api/v1: is it the address of Airflow's API server?",
                status=HTTPStatus.NOT_FOUND,
            )
        return self._version

    def _logged_in(self) -> ReplicaHttp:
        if self._http is None:
            self._http = ReplicaHttp(self.url, headers=self._credentials(), secrets=self._secrets, **self._options)
        return self._http

    def _credentials(self) -> dict[str, str]:
        login = self._login
        if login.token:
            return bearer(login.token)
        if self._version == "v1":
            pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        with closing(ReplicaHttp(self.url, headers={}, secrets=self._secrets, **self._options)) as http:
            body = {"username": login.username, "password": login.password}
            answer = self._ask(http, "POST", _TOKEN_PATH, body)
        return bearer(self._read(_Token, answer, _TOKEN_PATH).access_token)

    def _ask(self, http: ReplicaHttp, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        content = None if body is None else json.dumps(body)
        try:
            return http.ask(method, path, body=content, any_success=True)
        except ReplicaUnreachableError as error:
            raise AirflowUnreachableError(str(error)) from None  # its cause may hold what was sent
        except ReplicaRefusedError as error:
            raise AirflowRefusedError(str(error), status=error.status) from None


def _part(text: str) -> str:
    return quote(text, safe="")


def _decoded(value: Any) -> Any:
    """Return an XCom's value; the server keeps it as JSON text, and some answer that text."""
    while isinstance(value, str) and value[:1] in {"{", "[", '"'}:
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return value
