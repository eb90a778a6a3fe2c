"""The recommendation API over HTTP: a ``fleet.Replica``, and what a user of it would ask."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from model_release.adapters.addresses import bearer, check_url
from model_release.contract import (
    LEASE_PATH,
    MODELS_PATH,
    RELOAD_PATH,
    Answer,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    Problem,
    ReloadReceipt,
    ReloadRequest,
)
from model_release.errors import ReplicaRefusedError, ReplicaUnreachableError

_Body = TypeVar("_Body", bound=BaseModel)
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429
_OK = 200


class RecommendationApiClient:
    """One replica.

    Outages (no connection, time out, 429, 5xx) raise ``ReplicaUnreachableError``: worth a retry.  Every other answer
    that is not a 200 with a body of the contract raises ``ReplicaRefusedError``: a retry would get the same.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_seconds: float = 30.0,
        reload_timeout_seconds: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client of the replica at ``url``.

        Args:
            url: base address, ``http://host:port``, without credentials, query or fragment.
            token: bearer token for reload and lease.
            timeout_seconds: for reads.
            reload_timeout_seconds: for reloads, which load and check a whole run.
            transport: another transport, for tests.

        Raises:
            ConfigurationError: the address is not usable, or holds credentials; or the token can't be in a header.
        """
        self._url = check_url(url)
        self._reload_timeout_seconds = reload_timeout_seconds
        headers = bearer(token)
        self._http = httpx.Client(
            base_url=self._url,
            headers=headers,
            timeout=timeout_seconds,
            transport=transport,
            follow_redirects=False,  # the token would travel along
            trust_env=False,  # a proxy of the environment is not between us and a replica
        )

    @property
    def url(self) -> str:
        """Base address, without a slash at its end."""
        return self._url

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def reload(self, request: ReloadRequest) -> ReloadReceipt:
        """POST a reload and return the replica's receipt."""
        body = request.model_dump_json(exclude_none=True, exclude_defaults=True)
        return self._call("POST", RELOAD_PATH, ReloadReceipt, body=body, timeout=self._reload_timeout_seconds)

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """Renew the lease of the candidate on trial."""
        return self._call("POST", LEASE_PATH, LeaseReceipt, body=request.model_dump_json())

    def models(self) -> ModelsReport:
        """Return desired and observed state, worker by worker."""
        return self._call("GET", MODELS_PATH, ModelsReport)

    def recommend(self, user_id: str, k: int = 10) -> Answer:
        """Ask for recommendations as a shop would."""
        return self._call("GET", f"/recommend/{quote(user_id, safe='')}?k={k}", Answer)

    def similar(self, item_id: str, k: int = 10) -> Answer:
        """Ask for items like ``item_id``."""
        return self._call("GET", f"/similar/{quote(item_id, safe='')}?k={k}", Answer)

    def ready(self) -> bool:
        """Whether the replica says that it is ready; False if it says no, or nothing."""
        try:
            return self._http.get("/health/ready").status_code == _OK
        except httpx.HTTPError:
            return False

    def _call(
        self, method: str, path: str, kind: type[_Body], *, body: str | None = None, timeout: float | None = None
    ) -> _Body:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        limit = self._http.timeout if timeout is None else httpx.Timeout(timeout, connect=10.0)
        try:
            response = self._http.request(method, path, content=body, headers=headers, timeout=limit)
        except httpx.HTTPError as error:
            raise ReplicaUnreachableError(
                f"{method} {self._url}{path} failed: {type(error).__name__}: {error}", replica=self._url
            ) from error
        if response.status_code != _OK:
            raise self._error(method, path, response)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise ReplicaRefusedError(
                f"{method} {self._url}{path} answered 200 with something else than a {kind.__name__}: "
                f"{error.error_count()} problems; is this address a recommendation API of this version?",
                replica=self._url,
                status=response.status_code,
                title="not the contract",
            ) from error

    def _error(self, method: str, path: str, response: httpx.Response) -> ReplicaRefusedError | ReplicaUnreachableError:
        status = response.status_code
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            problem = Problem(title=response.reason_phrase or "error", status=status, detail=response.text[:200])
        message = f"{method} {self._url}{path} answered {status} {problem.title}: {problem.detail}".rstrip(": ")
        if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
            return ReplicaUnreachableError(message, replica=self._url)
        return ReplicaRefusedError(message, replica=self._url, status=status, title=problem.title)
