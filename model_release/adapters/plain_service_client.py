"""A ``fleet.Replica`` for somebody else's HTTP service, whose calls a mapping describes.

Such a service reads no registry.  So this client does: it posts what the registry desires at that moment, and refuses to
post for a generation that somebody has superseded.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from model_release.adapters.addresses import bearer
from model_release.adapters.replica_http import HttpReplica, ReplicaHttp
from model_release.adapters.service_mapping import Call, Probe, ServiceMapping, Values, at, filled, filled_path
from model_release.artifact import RunId
from model_release.contract import (
    Answer,
    Generation,
    LeaseReceipt,
    LeaseRequest,
    Mode,
    ObservedModels,
    ObservedWorker,
    ReloadReceipt,
    ReloadRequest,
    Rollout,
    Trial,
    utc_now,
)
from model_release.errors import GenerationConflictError, InvalidInputError
from model_release.leases import lease_receipt, renewed
from model_release.reconcile_state import expected
from model_release.registry import Registry, RegistryStore

_Value = TypeVar("_Value")
_RUN_ID: TypeAdapter[RunId] = TypeAdapter(RunId)
_MAYBE_RUN_ID: TypeAdapter[RunId | None] = TypeAdapter(RunId | None)
_GENERATION: TypeAdapter[int] = TypeAdapter(Generation)
_ROLLOUT: TypeAdapter[float | None] = TypeAdapter(Rollout | None)
_READY: TypeAdapter[bool] = TypeAdapter(bool)
_ITEMS: TypeAdapter[list[str]] = TypeAdapter(list[str])
_CONFLICT = 409
_UNKNOWN_RELEASE = "not-told"


class PlainServiceClient(HttpReplica):
    """One replica of a service that knows nothing of generations, unless its mapping says so."""

    def __init__(
        self,
        url: str,
        *,
        mapping: ServiceMapping,
        registry: RegistryStore,
        token: str | None = None,
        timeout_seconds: float = 10.0,
        reload_timeout_seconds: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client of the service at ``url``.

        Args:
            url: base address, without credentials, query or fragment.
            mapping: its paths, bodies and pointers.
            registry: what is desired; read before each post.
            token: secret for the mapping's ``auth_header``.
            timeout_seconds: for reads and leases.
            reload_timeout_seconds: for prepare and reload.
            transport: another transport, for tests.

        Raises:
            ConfigurationError: the address is not usable, or the token can't be in a header.
        """
        carried = bearer(token)  # refuses a token that no header may hold
        headers = {mapping.auth_header: f"{mapping.auth_scheme} {token}".strip()} if carried else {}
        super().__init__(ReplicaHttp(url, headers=headers, timeout_seconds=timeout_seconds, transport=transport))
        self._mapping = mapping
        self._registry = registry
        self._reload_timeout_seconds = reload_timeout_seconds

    @property
    def probes(self) -> bool:
        """Whether :meth:`recommend` can be asked."""
        return self._mapping.probe is not None

    def reload(self, request: ReloadRequest) -> ReloadReceipt:
        """Prepare the run; or make the service serve what the registry desires, if that is still what was committed.

        Raises:
            ReplicaRefusedError: the mode is not mapped, a trial would outlive its lease, another generation is desired,
                or the service said no.
            ReplicaUnreachableError: an outage.
        """
        self._check_mode(request.mode)
        registry = self._registry.read()
        if request.prepare:
            self._prepare(request, registry)
            return self._receipt("prepared", request.mode, request.run_id, registry)
        if request.generation is None:
            raise self._http.refused(f"{self.url} makes no commits: say which generation it is to follow")
        if registry.generation != request.generation:
            raise self._http.refused(
                f"{self.url} is not told of generation {request.generation}: the registry is at {registry.generation}",
                status=_CONFLICT,
                title="superseded",
            )
        desired = expected(registry, utc_now())
        if desired.candidate is None or request.run_id is None:  # to follow is to serve the current run, then the trial
            self._post("primary", desired)
        if desired.candidate is not None:
            self._post(desired.candidate.mode, desired)
        mode = desired.candidate.mode if desired.candidate else "primary"
        run = desired.candidate or desired.current
        return self._receipt("serving", mode, run.run_id if run else None, registry)

    def models(self) -> ObservedModels:
        """Return what the service says it serves, as the report of one worker."""
        status = self._mapping.status
        said = self._json("GET", status.path)
        generation = None if status.generation is None else self._told(said, status.generation, _GENERATION)
        ready = status.ready is None or self._told(said, status.ready, _READY)
        worker = ObservedWorker(
            pid=0,
            generation=generation,
            current=self._told(said, status.run_id, _MAYBE_RUN_ID),
            candidate=self._trial(said),
            degraded=None if ready else "it says that it is not ready",
        )
        return ObservedModels(
            replica=self.url, desired=None, workers_expected=1, workers=(worker,), reported_at=utc_now()
        )

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """Renew the lease in the registry; tell the service, if it has a call for that."""
        try:
            registry = self._registry.update(lambda state: renewed(state, request, now=utc_now()))
            receipt = lease_receipt(registry, request)
        except (InvalidInputError, GenerationConflictError) as error:
            raise self._http.refused(str(error), status=_CONFLICT, title="the trial has ended") from error
        if self._mapping.lease is not None and registry.candidate is not None:
            values = _values(registry, registry.candidate.mode, receipt.run_id)
            self._send(self._mapping.lease, {**values, "lease_seconds": request.lease_seconds}, quick=True)
        return receipt

    def recommend(self, user_id: str, k: int = 10) -> Answer:
        """Ask for recommendations as a shop would.

        Raises:
            InvalidInputError: the mapping has no ``probe``.
        """
        probe: Probe | None = self._mapping.probe
        if probe is None:
            raise InvalidInputError("the mapping has no probe: recommendations can't be asked for")
        said = self._json("GET", filled_path(probe.path, {"user_id": user_id, "k": k}))
        run_id = self._told(said, probe.run_id, _RUN_ID)
        items: list[str] = self._told(said, probe.items, _ITEMS)
        candidate = self._registry.read().candidate
        tried = candidate is not None and candidate.run_id == run_id
        return Answer(run_id=run_id, variant="candidate" if tried else "current", items=tuple(items), known=True)

    def _check_mode(self, mode: Mode) -> None:
        if mode not in self._mapping.reload.bodies:
            raise self._http.refused(
                f"{self.url} has no mode {mode!r}: service.reload.bodies has {', '.join(self._mapping.reload.bodies)}"
            )
        if mode != "primary" and self._mapping.lease is None and not self._mapping.trials_without_lease:
            raise self._http.refused(
                f"{self.url} can't end a trial by itself: add service.lease, or say service.trials_without_lease: true "
                "and know that a trial goes on while Airflow is away"
            )

    def _prepare(self, request: ReloadRequest, registry: Registry) -> None:
        call = self._mapping.prepare
        if call is None:
            self.models()  # all that can be known: it is there, and says what it serves
            return
        asked = {"rollout": request.rollout, "release_id": request.release_id, "lease_seconds": request.lease_seconds}
        self._send(call, {**_values(registry, request.mode, request.run_id), **asked})

    def _post(self, mode: Mode, desired: Registry) -> None:
        self._check_mode(mode)
        run = desired.candidate if mode != "primary" else desired.current
        if run is None:
            raise self._http.refused(f"{self.url} can't be told to serve no run, which is what the registry desires")
        reload = self._mapping.reload
        call = Call(path=reload.path, method=reload.method, headers=reload.headers, body=reload.bodies[mode])
        self._send(call, _values(desired, mode, run.run_id))

    def _send(self, call: Call, values: Values, *, quick: bool = False) -> None:
        self._http.ask(
            call.method,
            filled_path(call.path, values),
            body=None if call.body is None else json.dumps(filled(call.body, values)),
            headers=call.headers,
            timeout_seconds=None if quick else self._reload_timeout_seconds,
            any_success=True,
        )

    def _json(self, method: str, path: str) -> Any:
        answer = self._http.ask(method, path)
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._http.refused(f"{method} {self.url}{path} answered something else than JSON") from error

    def _told(self, said: Any, pointer: str, kind: TypeAdapter[_Value]) -> _Value:
        try:
            return kind.validate_python(at(said, pointer), strict=True)
        except LookupError:
            raise self._http.refused(f"{self.url} answered JSON without {pointer!r}: check the mapping") from None
        except ValidationError:
            raise self._http.refused(f"{self.url} answered JSON with an unusable value at {pointer!r}") from None

    def _trial(self, said: Any) -> Trial | None:
        """Return the trial that the service reports; what it can't tell is taken from the registry."""
        status = self._mapping.status
        run_id = None if status.candidate is None else self._told(said, status.candidate, _MAYBE_RUN_ID)
        if run_id is None:
            return None
        share = None if status.rollout is None else self._told(said, status.rollout, _ROLLOUT)
        desired = self._registry.read().candidate
        if desired is None or desired.run_id != run_id:
            return Trial(run_id=run_id, mode="canary", rollout=share or 0.0, release_id=_UNKNOWN_RELEASE)
        rollout = desired.rollout if status.rollout is None else share or 0.0
        return Trial(run_id=run_id, mode=desired.mode, rollout=rollout, release_id=desired.release_id)

    @staticmethod
    def _receipt(status: Any, mode: Mode, run_id: str | None, registry: Registry) -> ReloadReceipt:
        return ReloadReceipt(
            status=status, changed=True, mode=mode, run_id=run_id, generation=registry.generation, workers=1
        )


def _values(registry: Registry, mode: Mode, run_id: str | None) -> dict[str, str | int | float | None]:
    """Return what the placeholders stand for."""
    current, candidate = registry.current, registry.candidate if mode != "primary" else None
    until = candidate.lease_until if candidate else None
    left = None if until is None else max(1, round((until - utc_now()) / dt.timedelta(seconds=1)))
    holder = candidate or current
    return {
        "run_id": run_id,
        "current_run_id": current.run_id if current else None,
        "previous_run_id": current.previous_run_id if current else None,
        "mode": mode,
        "rollout": candidate.rollout if candidate else None,
        "generation": registry.generation,
        "release_id": holder.release_id if holder else None,
        "lease_seconds": left,
    }
