"""The lease of a trial is renewed: one rule for the recommendation API, and for clients of services without one."""

from __future__ import annotations

import datetime as dt

from model_release.contract import LeaseReceipt, LeaseRequest
from model_release.errors import InvalidInputError
from model_release.registry import Registry, expect, renew_lease


def renewed(registry: Registry, request: LeaseRequest, *, now: dt.datetime) -> Registry:
    """Return the registry with the trial going on for ``lease_seconds`` from ``now``.

    Raises:
        GenerationConflictError: the registry is at another generation.
        InvalidInputError: this release has no candidate on trial, or its lease has run out.
    """
    expect(registry, request.generation)
    candidate = registry.candidate
    if candidate is not None and candidate.expired(now):
        raise InvalidInputError(
            f"the lease of release {candidate.release_id!r} ran out at {candidate.lease_until:%H:%M:%SZ}: "
            "its trial has ended"
        )
    until = now + dt.timedelta(seconds=request.lease_seconds)
    return renew_lease(registry, release_id=request.release_id, lease_until=until)


def lease_receipt(registry: Registry, request: LeaseRequest) -> LeaseReceipt:
    """Return what to answer after :func:`renewed`.

    Raises:
        InvalidInputError: the candidate went, or has no lease.
    """
    candidate = registry.candidate
    if candidate is None or candidate.lease_until is None:
        raise InvalidInputError(f"release {request.release_id!r} has no candidate with a lease")
    return LeaseReceipt(
        release_id=candidate.release_id,
        run_id=candidate.run_id,
        generation=registry.generation,
        lease_until=candidate.lease_until,
    )
