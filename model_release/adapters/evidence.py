"""Collect what a gate judges from, for one run and one stage.

Nothing here decides.  What can't be read or asked, or is not about the run in question, becomes ``Missing`` with the
reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterable

from model_release.adapters.decisions import read_decision
from model_release.adapters.hashed_files import read_hashed
from model_release.adapters.offline_evidence import not_looked_at, read_offline
from model_release.adapters.online_evidence import ask
from model_release.adapters.per_user_values import PER_USER_NAME, SUMMARY_NAME
from model_release.adapters.prometheus import Clock
from model_release.adapters.reconciliation_files import newest_reconciliation, parse_reconciliation
from model_release.adapters.registry_evidence import read_registry, registry_facts, run_facts, trial_facts
from model_release.adapters.sources import Sources
from model_release.errors import StateError
from model_release.evidence import Evidence, Missing, Reconciliation
from model_release.identifiers import check_release_id, check_run_id
from model_release.paths import ReleasePaths
from model_release.policy import AlertsPolicy, AnyCheck, Policy, ReconciliationPolicy, Stage

__all__ = ["PER_USER_NAME", "SUMMARY_NAME", "collect", "collect_alerts", "evaluated_runs"]
_NOWHERE = Sources()
_ONLY_ALERTS = "only alerts were asked for"


def collect(
    paths: ReleasePaths,
    policy: Policy,
    run_id: str,
    release_id: str | None,
    stage: Stage = "offline",
    *,
    sources: Sources = _NOWHERE,
    clock: Clock = time.time,
) -> Evidence:
    """Read and ask everything that ``policy`` needs to judge ``run_id``; not from inside a running event loop.

    The registry is read first: a decision then stands on a generation at least as old as everything else in it, and
    the commit, which compares and sets that generation, notices whatever happened since.

    Args:
        paths: the installation.
        policy: what will be judged.
        run_id: which run.
        release_id: for which release; its kept decision tells when everything could last be measured.
        stage: ``offline``, before a trial, or ``online``, during it.
        sources: where Prometheus and Alertmanager are; what is not configured there is missing.
        clock: our time.

    Raises:
        InvalidInputError: ``run_id`` or ``release_id`` is not a valid name.
    """
    check_run_id(run_id)
    if release_id is not None:
        check_release_id(release_id)
    registry = read_registry(paths)
    run = run_facts(paths, run_id)
    files: dict[str, str] = {}
    checks: tuple[AnyCheck, ...] = policy.checks
    if stage == "online":
        checks = policy.online.checks if policy.online is not None else ()
    trial = trial_facts(registry, run_id) if stage == "online" else None
    online, firing = asyncio.run(
        ask(sources, policy.online, trial, with_alerts=_has(checks, AlertsPolicy), clock=clock)
    )
    parts = read_offline(paths, policy, run_id, run, files) if stage == "offline" else not_looked_at()
    return Evidence(
        run_id=run_id,
        release_id=release_id,
        registry=registry_facts(registry, run_id),
        run=run,
        data_quality=parts.data_quality,
        evaluation=parts.evaluation,
        per_user=parts.per_user,
        alerts=firing,
        reconciliation=_reconciliation(paths, files, asked=_has(checks, ReconciliationPolicy)),
        online=online,
        measured_at=_measured_at(paths, run_id, release_id, stage, clock()),
        files=files,
    )


def collect_alerts(run_id: str, release_id: str | None, *, sources: Sources = _NOWHERE) -> Evidence:
    """Ask Alertmanager and read no file; not from inside a running event loop."""
    _, firing = asyncio.run(ask(sources, None, None, with_alerts=True))
    parts = not_looked_at()
    return Evidence(
        run_id=run_id,
        release_id=release_id,
        registry=Missing(_ONLY_ALERTS),
        run=Missing(_ONLY_ALERTS),
        data_quality=parts.data_quality,
        evaluation=parts.evaluation,
        per_user=parts.per_user,
        alerts=firing,
    )


def evaluated_runs(paths: ReleasePaths) -> list[str]:
    """Return the runs that have an evaluation, by name."""
    return sorted(path.parent.name for path in paths.evaluation.glob(f"*/{SUMMARY_NAME}"))


def _has(checks: Iterable[AnyCheck], kind: type[AnyCheck]) -> bool:
    return any(isinstance(check, kind) for check in checks)


def _reconciliation(paths: ReleasePaths, files: dict[str, str], *, asked: bool) -> Reconciliation | Missing:
    if not asked:
        return Evidence.reconciliation
    date = newest_reconciliation(paths)
    if isinstance(date, Missing):
        return date
    return read_hashed(paths, paths.reconciliation_of(date), files, lambda data: parse_reconciliation(data, date))


def _measured_at(
    paths: ReleasePaths, run_id: str, release_id: str | None, stage: Stage, now: float
) -> dt.datetime | None:
    """Return when this gate could last measure everything; a kept decision that is none, or of tomorrow, tells nothing."""
    if release_id is None:
        return None
    try:
        kept = read_decision(paths, release_id, stage)
    except (StateError, OSError):
        return None
    if kept is None or kept.run_id != run_id or kept.measured_at is None or kept.measured_at.timestamp() > now:
        return None
    return kept.measured_at
