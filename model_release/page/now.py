"""What is desired, and what every worker of every replica serves at this moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import AwareDatetime

from model_release import fleet
from model_release.artifact import Frozen
from model_release.contract import ObservedModels, ObservedWorker
from model_release.errors import ReplicaError, ReplicaRefusedError
from model_release.registry import Registry, TrialMode


class CurrentRun(Frozen):
    """The run that users get."""

    run_id: str
    release_id: str
    since: AwareDatetime
    generation: int
    previous_run_id: str | None


class TrialRun(Frozen):
    """The run on trial; ``lapsed``: its lease has run out, and nobody ended it yet."""

    run_id: str
    mode: TrialMode
    rollout: float
    release_id: str
    since: AwareDatetime
    lease_until: AwareDatetime | None
    lapsed: bool


class LatchSet(Frozen):
    """Why automatic releases are stopped."""

    reason: str
    by: str
    since: AwareDatetime


class Desired(Frozen):
    """The registry; ``back_to`` is where a rollback without a name goes."""

    generation: int
    current: CurrentRun | None
    candidate: TrialRun | None
    latch: LatchSet | None
    back_to: str | None
    runs: int


class WorkerNow(Frozen):
    """One worker process; ``wrong`` says how it differs from what is desired."""

    pid: int
    generation: int | None
    current: str | None
    candidate: str | None
    mode: str | None
    rollout: float | None
    loaded_at: AwareDatetime | None
    wrong: str | None


class ReplicaNow(Frozen):
    """One replica; ``why`` says what is wrong with it as a whole."""

    address: str
    state: Literal["agrees", "differs", "refused", "unreachable"]
    why: str = ""
    expected: int = 0
    workers: tuple[WorkerNow, ...] = ()


class Fleet(Frozen):
    """All replicas, by address."""

    replicas: tuple[ReplicaNow, ...]
    agreeing: int
    workers: int


def desired(registry: Registry, now: dt.datetime) -> Desired:
    """Return what the registry desires."""
    current, candidate, latch = registry.current, registry.candidate, registry.latch
    return Desired(
        generation=registry.generation,
        current=None if current is None else CurrentRun(**current.model_dump()),
        candidate=None
        if candidate is None
        else TrialRun(**candidate.model_dump(exclude={"generation"}), lapsed=candidate.expired(now)),
        latch=None if latch is None else LatchSet(**latch.model_dump()),
        back_to=registry.last_good_run_id(),
        runs=len(registry.runs),
    )


def observed(reports: Mapping[str, ObservedModels], errors: Iterable[ReplicaError], registry: Registry) -> Fleet:
    """Return what :func:`fleet.read_all` found, replica by replica."""
    told = [_replica(url, report, registry) for url, report in reports.items()]
    silent = [
        ReplicaNow(
            address=error.replica,
            state="refused" if isinstance(error, ReplicaRefusedError) else "unreachable",
            why=str(error),
        )
        for error in errors
    ]
    replicas = sorted([*told, *silent], key=lambda replica: replica.address)
    return Fleet(
        replicas=tuple(replicas),
        agreeing=sum(replica.state == "agrees" for replica in replicas),
        workers=sum(len(replica.workers) for replica in replicas),
    )


def _replica(url: str, report: ObservedModels, registry: Registry) -> ReplicaNow:
    wrong = fleet.differences(url, report, registry)
    whole = [one.text for one in wrong if one.kind in {fleet.Kind.UNREADABLE, fleet.Kind.WORKERS}]
    return ReplicaNow(
        address=url,
        state="differs" if wrong else "agrees",
        why="; ".join(whole),
        expected=report.workers_expected,
        workers=tuple(_worker(worker, registry) for worker in report.workers),
    )


def _worker(worker: ObservedWorker, registry: Registry) -> WorkerNow:
    trial = worker.candidate
    return WorkerNow(
        pid=worker.pid,
        generation=worker.generation,
        current=worker.current,
        candidate=None if trial is None else trial.run_id,
        mode=None if trial is None else trial.mode,
        rollout=None if trial is None else trial.rollout,
        loaded_at=worker.loaded_at,
        wrong=fleet.worker_difference(worker, registry),
    )
