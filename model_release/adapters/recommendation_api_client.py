"""The recommendation API over HTTP: a ``fleet.Replica``, and what a user of it would ask."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from model_release.adapters.addresses import bearer
from model_release.adapters.replica_http import HttpReplica, ReplicaHttp
from model_release.contract import (
    LEASE_PATH,
    MODELS_PATH,
    RELOAD_PATH,
    Answer,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
)
from model_release.errors import ReplicaError

_Body = TypeVar("_Body", bound=BaseModel)


class RecommendationApiClient(HttpReplica):
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
        super().__init__(ReplicaHttp(url, headers=bearer(token), timeout_seconds=timeout_seconds, transport=transport))
        self._reload_timeout_seconds = reload_timeout_seconds

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

    @property
    def probes(self) -> bool:
        """Whether :meth:`recommend` can be asked: here always."""
        return True

    def recommend(self, user_id: str, k: int = 10) -> Answer:
        """Ask for recommendations as a shop would."""
        return self._call("GET", f"/recommend/{quote(user_id, safe='')}?k={k}", Answer)

    def similar(self, item_id: str, k: int = 10) -> Answer:
        """Ask for items like ``item_id``."""
        return self._call("GET", f"/similar/{quote(item_id, safe='')}?k={k}", Answer)

    def ready(self) -> bool:
        """Whether the replica says that it is ready; False if it says no, or nothing."""
        try:
            self._http.ask("GET", "/health/ready")
        except ReplicaError:
            return False
        return True

    def _call(
        self, method: str, path: str, kind: type[_Body], *, body: str | None = None, timeout: float | None = None
    ) -> _Body:
        answer = self._http.ask(method, path, body=body, timeout_seconds=timeout)
        try:
            return kind.model_validate_json(answer)
        except ValidationError as error:
            raise self._http.refused(
                f"{method} {self.url}{path} answered 200 with something else than a {kind.__name__}: "
                f"{error.error_count()} problems; is this address a recommendation API of this version?"
            ) from error
