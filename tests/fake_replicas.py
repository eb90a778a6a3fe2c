"""A fleet without a network: replicas that keep the HTTP contract, lose messages and refuse when told to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from model_release.contract import (
    Desired,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
    Trial,
    WorkerReport,
    utc_now,
)
from model_release.errors import InvalidInputError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.registry import Registry, RegistryStore, renew_lease

NOW = dt.datetime(2026, 1, 5, 12, 0, tzinfo=dt.UTC)


@dataclass
class FakeReplica:
    """Serves what the registry desires, once it is told or looks."""

    store: RegistryStore
    url: str = "http://replica-1"
    workers: int = 1
    refuses: set[str] = field(default_factory=set)  # runs that it can't load
    down: bool = False
    served: Registry = field(default_factory=Registry)
    prepared: list[str] = field(default_factory=list)

    def reload(self, request: ReloadRequest) -> ReloadReceipt:
        """Prepare, or follow the registry."""
        self._answer()
        if request.run_id in self.refuses:
            raise ReplicaRefusedError(
                f"run {request.run_id} fails its hashes", replica=self.url, status=424, title="artifact unusable"
            )
        if request.prepare:
            self.prepared.append(str(request.run_id))
            return self._receipt("prepared", request, changed=False)
        if request.generation is not None and request.generation < self.served.generation:
            raise ReplicaRefusedError("older generation", replica=self.url, status=409, title="conflict")
        before = self.served.generation
        self.look()
        return self._receipt("serving", request, changed=self.served.generation != before)

    def models(self) -> ModelsReport:
        """Report what it serves."""
        self._answer()
        trial = self.served.candidate
        candidate = Trial.model_validate(trial.model_dump(include=set(Trial.model_fields))) if trial else None
        current = self.served.current.run_id if self.served.current else None
        worker = WorkerReport(pid=1, generation=self.served.generation, current=current, candidate=candidate)
        return ModelsReport(
            replica=self.url,
            desired=Desired(generation=self.served.generation, current=current, candidate=candidate),
            workers_expected=self.workers,
            workers=tuple(worker.model_copy(update={"pid": pid}) for pid in range(1, self.workers + 1)),
            reported_at=NOW,
        )

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """Renew the lease in the registry, as the API does, fenced by generation, release and time."""
        self._answer()
        until = utc_now() + dt.timedelta(seconds=request.lease_seconds)

        def transition(registry: Registry) -> Registry:
            if registry.generation != request.generation:
                raise ReplicaRefusedError(
                    f"registry is at {registry.generation}", replica=self.url, status=409, title="generation conflict"
                )
            if registry.candidate is not None and registry.candidate.expired(utc_now()):
                raise ReplicaRefusedError("the lease ran out", replica=self.url, status=422, title="invalid request")
            try:
                return renew_lease(registry, release_id=request.release_id, lease_until=until)
            except InvalidInputError as error:
                raise ReplicaRefusedError(str(error), replica=self.url, status=422, title="invalid request") from error

        after = self.store.update(transition)
        assert after.candidate is not None
        assert after.candidate.lease_until is not None
        return LeaseReceipt(
            release_id=request.release_id,
            run_id=after.candidate.run_id,
            generation=after.generation,
            lease_until=after.candidate.lease_until,
        )

    def look(self) -> None:
        """Bring itself to the desired state, as its watcher does."""
        self.served = self.store.read()

    def _answer(self) -> None:
        if self.down:
            raise ReplicaUnreachableError("connection refused", replica=self.url)

    def _receipt(self, status: str, request: ReloadRequest, *, changed: bool) -> ReloadReceipt:
        return ReloadReceipt.model_validate(
            {
                "status": status,
                "changed": changed,
                "mode": request.mode,
                "run_id": request.run_id,
                "generation": self.served.generation,
                "workers": self.workers,
            }
        )
