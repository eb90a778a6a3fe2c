"""What this replica says about itself: desired and observed state, and the receipt of a change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from model_release.contract import Desired, ModelsReport, ReloadReceipt, ReloadRequest, WorkerReport, utc_now
from model_release.errors import StateError
from model_release.registry import Registry
from recommendation_api.serving import Serving, desired_of

_WORKERS = 1  # processes of this replica


def models_report(
    read: Callable[[], Registry], serving: Serving, *, replica: str, resident: Sequence[str]
) -> ModelsReport:
    """Return desired and observed state; a registry that can't be read is reported, not raised."""
    desired: Desired | None = None
    problem = None
    try:
        registry = read()
        desired = desired_of(registry)
        if registry.generation < serving.generation:
            problem = _went_back(registry, serving)
    except (StateError, OSError) as error:
        problem = str(error)
    worker = WorkerReport(
        pid=os.getpid(),
        generation=serving.generation,
        current=serving.current.run_id if serving.current else None,
        candidate=serving.trial(time.time()),
        resident=tuple(resident),
        loaded_at=serving.current.loaded_at if serving.current else None,
        degraded=serving.problem,
    )
    return ModelsReport(
        replica=replica,
        desired=desired,
        problem=problem,
        workers_expected=_WORKERS,
        workers=(worker,),
        reported_at=utc_now(),
    )


def receipt(status: str, request: ReloadRequest, serving: Serving, *, changed: bool, message: str) -> ReloadReceipt:
    """Return the answer to a reload: what is served now, whatever was asked for."""
    current = serving.registry.current
    trial = serving.trial(time.time()) if request.mode != "primary" else None
    served = trial.run_id if trial else serving.current.run_id if serving.current else None
    return ReloadReceipt.model_validate(
        {
            "status": status,
            "changed": changed,
            "mode": request.mode,
            "run_id": request.run_id if status == "prepared" else served,
            "generation": serving.generation,
            "rollout": trial.rollout if trial else None,
            "previous_run_id": current.previous_run_id if current else None,
            "workers": _WORKERS,
            "message": message,
        }
    )


def _went_back(registry: Registry, serving: Serving) -> str:
    return (
        f"the registry is at generation {registry.generation}, this replica serves {serving.generation}: it was "
        "replaced by an older one; nothing is changed until it is ahead again"
    )
