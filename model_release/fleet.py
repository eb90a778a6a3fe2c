"""The replicas of the recommendation API as one fleet: ask all of them, and say who disagrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from model_release.contract import (
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
    Trial,
)
from model_release.errors import InvalidInputError, ReplicaError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.registry import Candidate, Registry

_MAX_PARALLEL = 16
_NOBODY = "no replica to talk to: configure the address of the recommendation API"

TrialKey = tuple[str, str, float, str]


class Replica(Protocol):
    """One replica of the recommendation API, as the HTTP contract has it."""

    @property
    def url(self) -> str:
        """Its address, for messages."""

    def reload(self, request: ReloadRequest) -> ReloadReceipt:
        """POST a reload; raises ``ReplicaRefusedError`` or ``ReplicaUnreachableError``."""

    def models(self) -> ModelsReport:
        """GET desired and observed state; raises the same."""

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """POST the renewal of a lease; raises the same."""


def tell(replicas: Sequence[Replica], request: ReloadRequest) -> list[ReplicaError]:
    """Send ``request`` to all replicas at once; return who did not acknowledge it, and why."""
    return _everywhere(replicas, lambda replica: replica.reload(request))


def tell_all(replicas: Sequence[Replica], request: ReloadRequest) -> None:
    """Send ``request`` to all replicas at once.

    Raises:
        ReplicaRefusedError: at least one said no; its notes name the others that failed.
        ReplicaUnreachableError: at least one could not be reached, and none said no.
    """
    errors = tell(replicas, request)
    if not errors:
        return
    # a refusal before an outage: no retry helps while one replica says no
    first = next((error for error in errors if isinstance(error, ReplicaRefusedError)), errors[0])
    for error in errors:
        if error is not first:
            first.add_note(f"also {error.replica}: {error}")
    raise first


def renew(replicas: Sequence[Replica], request: LeaseRequest) -> LeaseReceipt:
    """Renew the lease of a trial at the first replica that can be reached: one is enough, they share the registry.

    May be repeated, by several at once: a lease is never shortened.

    Raises:
        ReplicaRefusedError: the trial has ended or was superseded, or the caller may not: a retry changes nothing.
        ReplicaUnreachableError: no replica could be reached; its notes name the others.
        InvalidInputError: there are no replicas.
    """
    lost: list[ReplicaUnreachableError] = []
    for replica in replicas:
        try:
            return replica.lease(request)
        except ReplicaUnreachableError as error:
            lost.append(error)
    if not lost:
        raise InvalidInputError(_NOBODY)
    first, *others = lost
    for other in others:
        first.add_note(f"also {other.replica}: {other}")
    raise first


def disagreements(replicas: Sequence[Replica], desired: Registry) -> list[str]:
    """Read every replica once; return why the fleet does not serve ``desired``.  An empty list is agreement.

    Raises:
        InvalidInputError: there are no replicas; nobody can't agree.
    """
    found: list[str] = []

    def ask(replica: Replica) -> None:
        found.extend(f"{replica.url}: {reason}" for reason in deviations(replica.models(), desired))

    errors = _everywhere(replicas, ask)
    return sorted(found) + [f"{error.replica}: {error}" for error in errors]


def deviations(report: ModelsReport, desired: Registry) -> list[str]:
    """Return how one replica differs from ``desired``; an empty list means that every worker serves it."""
    if report.problem is not None:
        return [f"can't read the registry: {report.problem}"]
    reasons = []
    if not report.workers or len(report.workers) != report.workers_expected:
        reasons.append(f"{len(report.workers)} of {report.workers_expected} workers report")
    current = desired.current.run_id if desired.current else None
    trial = trial_key(desired.candidate)
    for worker in report.workers:
        who = f"worker {worker.pid}"
        if worker.generation != desired.generation:
            reasons.append(f"{who} is at generation {worker.generation}, desired is {desired.generation}")
        elif worker.current != current:
            reasons.append(f"{who} serves run {worker.current}, desired is {current}")
        elif trial_key(worker.candidate) != trial:
            reasons.append(f"{who} tries {trial_key(worker.candidate)}, desired is {trial}")
        elif worker.degraded is not None:
            reasons.append(f"{who} is degraded: {worker.degraded}")
    return reasons


def trial_key(trial: Candidate | Trial | None) -> TrialKey | None:
    """Return what makes two trials the same one: a renewed lease does not change it."""
    return None if trial is None else (trial.run_id, trial.mode, trial.rollout, trial.release_id)


def _everywhere(replicas: Sequence[Replica], action: Callable[[Replica], object]) -> list[ReplicaError]:
    """Run ``action`` on all replicas at once; return the errors, in the order of the replicas."""
    if not replicas:
        raise InvalidInputError(_NOBODY)

    def attempt(replica: Replica) -> ReplicaError | None:
        try:
            action(replica)
        except ReplicaError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=min(_MAX_PARALLEL, len(replicas))) as pool:
        return [error for error in pool.map(attempt, replicas) if error is not None]
