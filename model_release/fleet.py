"""The replicas of the recommendation API as one fleet: ask all of them, and say who disagrees."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from model_release.contract import (
    Desired,
    LeaseReceipt,
    LeaseRequest,
    ObservedModels,
    ObservedWorker,
    ReloadReceipt,
    ReloadRequest,
    Trial,
)
from model_release.errors import InvalidInputError, ReplicaError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.registry import Candidate, Registry

_MAX_PARALLEL = 16
_NOBODY = "no replica to talk to: configure the address of the recommendation API"

TrialKey = tuple[str, str, float, str]
State = Registry | Desired  # what is desired: of the registry itself, or as a replica reads it


class Kind(enum.StrEnum):
    """In which way a replica does not serve what is desired."""

    UNREACHABLE = "unreachable"  # an outage: nobody knows what it serves
    REFUSED = "refused"  # it does not tell what it serves
    UNREADABLE = "unreadable"  # it can't read the registry, or finds it older than what it serves
    WORKERS = "workers"  # not as many workers report as there should be
    BEHIND = "behind"  # a worker serves an older generation
    AHEAD = "ahead"  # a worker serves a newer one: the registry went back
    RUN = "run"  # the right generation, another run
    TRIAL = "trial"  # the right generation, another trial
    DEGRADED = "degraded"  # it can't use what it was told to serve


@dataclass(frozen=True)
class Deviation:
    """One way in which one replica differs from what is desired; ``text`` is for people."""

    replica: str
    kind: Kind
    text: str


class Replica(Protocol):
    """One replica of the recommendation API, as the HTTP contract has it."""

    @property
    def url(self) -> str:
        """Its address, for messages."""

    def reload(self, request: ReloadRequest) -> ReloadReceipt:
        """POST a reload; raises ``ReplicaRefusedError`` or ``ReplicaUnreachableError``."""

    def models(self) -> ObservedModels:
        """GET desired and observed state; raises the same."""

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """POST the renewal of a lease; raises the same."""


def tell(replicas: Sequence[Replica], request: ReloadRequest) -> list[ReplicaError]:
    """Send ``request`` to all replicas at once; return who did not acknowledge it, and why."""
    return _everywhere(replicas, lambda replica: replica.reload(request))


def tell_all(
    replicas: Sequence[Replica], request: ReloadRequest, *, needed: int | None = None
) -> list[ReplicaUnreachableError]:
    """Send ``request`` to all replicas at once; return those that can't be reached and need not be.

    Args:
        replicas: whom to tell.
        request: what.
        needed: how many have to do it; None: all.

    Raises:
        ReplicaRefusedError: at least one said no; its notes name the others that failed.
        ReplicaUnreachableError: fewer than ``needed`` could be reached, and none said no.
    """
    errors = tell(replicas, request)
    # a refusal before an outage: no retry helps while one replica says no
    refusals = [error for error in errors if isinstance(error, ReplicaRefusedError)]
    unreachable = [error for error in errors if isinstance(error, ReplicaUnreachableError)]
    enough = len(replicas) - len(errors) >= (len(replicas) if needed is None else needed)
    if not refusals and enough:
        return unreachable
    first = refusals[0] if refusals else errors[0]
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
    return [f"{found.replica}: {found.text}" for found in observe(replicas, desired)]


def observe(replicas: Sequence[Replica], desired: Registry) -> list[Deviation]:
    """Read every replica once; return each way in which one differs from ``desired``, those without an answer last.

    Raises:
        InvalidInputError: there are no replicas.
    """
    return compare(*read_all(replicas), desired)


def read_all(replicas: Sequence[Replica]) -> tuple[dict[str, ObservedModels], list[ReplicaError]]:
    """Read every replica once; return what each reports, by address, and the errors of those without an answer.

    Raises:
        InvalidInputError: there are no replicas.
    """
    reports: dict[str, ObservedModels] = {}
    errors = _everywhere(replicas, lambda replica: reports.update({replica.url: replica.models()}))
    return reports, errors


def compare(
    reports: Mapping[str, ObservedModels], errors: Iterable[ReplicaError], desired: Registry
) -> list[Deviation]:
    """Return each way in which what :func:`read_all` found differs from ``desired``, those without an answer last."""
    found = [one for url, report in reports.items() for one in differences(url, report, desired)]
    found.sort(key=lambda deviation: (deviation.replica, deviation.text))
    return found + [
        Deviation(
            error.replica, Kind.REFUSED if isinstance(error, ReplicaRefusedError) else Kind.UNREACHABLE, str(error)
        )
        for error in errors
    ]


def deviations(report: ObservedModels, desired: Registry) -> list[str]:
    """Return how one replica differs from ``desired``; an empty list means that every worker serves it."""
    return [found.text for found in differences(report.replica, report, desired)]


def differences(url: str, report: ObservedModels, desired: State) -> list[Deviation]:
    """Return each way in which the replica at ``url`` differs from ``desired``, at most one of each worker."""
    if report.problem is not None:
        return [Deviation(url, Kind.UNREADABLE, f"can't read the registry: {report.problem}")]
    found = []
    if not report.workers or len(report.workers) != report.workers_expected:
        text = f"{len(report.workers)} of {report.workers_expected} workers report"
        found.append(Deviation(url, Kind.WORKERS, text))
    for worker in report.workers:
        difference = _difference(worker, desired)
        if difference is not None:
            kind, text = difference
            found.append(Deviation(url, kind, f"worker {worker.pid} {text}"))
    return found


def worker_difference(worker: ObservedWorker, desired: State) -> str | None:
    """Return how one worker differs from ``desired``; None: it serves it."""
    difference = _difference(worker, desired)
    return None if difference is None else difference[1]


def _difference(worker: ObservedWorker, desired: State) -> tuple[Kind, str] | None:
    current = run_of(desired)
    trial = trial_key(desired.candidate)
    if worker.generation is not None and worker.generation != desired.generation:
        kind = Kind.BEHIND if worker.generation < desired.generation else Kind.AHEAD
        return kind, f"is at generation {worker.generation}, desired is {desired.generation}"
    if worker.current != current:
        return (
            Kind.RUN,
            f"serves run {worker.current}, desired is {current}",
        )
    if trial_key(worker.candidate) != trial:
        return (
            Kind.TRIAL,
            f"tries {trial_key(worker.candidate)}, desired is {trial}",
        )
    if worker.degraded is not None:
        return Kind.DEGRADED, f"is degraded: {worker.degraded}"
    return None


def run_of(desired: State) -> str | None:
    """Return the run that users are to get."""
    current = desired.current
    return current if current is None or isinstance(current, str) else current.run_id


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
