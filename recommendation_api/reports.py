"""What this replica says about itself: desired and observed state, and the receipt of a change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from model_release.contract import Desired, ModelsReport, ReloadReceipt, ReloadRequest, WorkerReport, utc_now
from model_release.errors import StateError
from model_release.registry import Registry
from recommendation_api.serving import Serving, desired_of


def models_report(
    read: Callable[[], Registry], workers: Sequence[WorkerReport], *, replica: str, expected: int, generation: int
) -> ModelsReport:
    """Return desired and observed state; a registry that can't be read is reported, not raised.

    Args:
        read: gives the desired state.
        workers: what each worker that answered serves.
        replica: name of this replica.
        expected: how many workers it should have.
        generation: what is served here.
    """
    desired: Desired | None = None
    problem = None
    try:
        registry = read()
        desired = desired_of(registry)
        if registry.generation < generation:
            problem = _went_back(registry.generation, generation)
    except (StateError, OSError) as error:
        problem = str(error)
    return ModelsReport(
        replica=replica,
        desired=desired,
        problem=problem,
        workers_expected=expected,
        workers=tuple(workers),
        reported_at=utc_now(),
    )


def receipt(
    status: str, request: ReloadRequest, serving: Serving, *, workers: int, changed: bool, message: str
) -> ReloadReceipt:
    """Return the answer to a reload: what is served now by ``workers`` processes, whatever was asked for."""
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
            "workers": workers,
            "message": message,
        }
    )


def _went_back(registry: int, served: int) -> str:
    return (
        f"the registry is at generation {registry}, this replica serves {served}: it was "
        "replaced by an older one; nothing is changed until it is ahead again"
    )
