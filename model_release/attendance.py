"""Who of the fleet is there, and whether those who are serve what is desired.

Only a replica that nobody can reach may be missing, and only as many as the policy's quorum leaves out.  One that can be
reached and refuses, lags or serves something else stands in the way, whatever the quorum is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_release import fleet
from model_release.fleet import Deviation, Kind, Replica
from model_release.registry import Registry


@dataclass(frozen=True)
class Attendance:
    """What one reading of the fleet found.

    Attributes:
        deviations: every way in which a replica differs from what is desired.
        blocking: what stands in the way, for people; empty: the fleet agrees.
        missing: addresses that can't be reached and, by the quorum, need not be.
        workers: how many worker processes reported.
    """

    deviations: tuple[Deviation, ...]
    blocking: tuple[str, ...]
    missing: tuple[str, ...]
    workers: int


def attend(replicas: Sequence[Replica], desired: Registry, *, needed: int) -> Attendance:
    """Read every replica once.

    Args:
        replicas: whom to ask.
        desired: what they must serve.
        needed: how many of them have to be there, at least one.

    Raises:
        InvalidInputError: there are no replicas.
    """
    reports, errors = fleet.read_all(replicas)
    found = tuple(fleet.compare(reports, errors, desired))
    unreachable = tuple(one.replica for one in found if one.kind is Kind.UNREACHABLE)
    missing = unreachable if len(replicas) - len(unreachable) >= max(1, needed) else ()
    blocking = tuple(
        f"{one.replica}: {one.text}" for one in found if not (one.kind is Kind.UNREACHABLE and one.replica in missing)
    )
    workers = sum(len(report.workers) for report in reports.values())
    return Attendance(deviations=found, blocking=blocking, missing=missing, workers=workers)


def without(missing: Sequence[str]) -> dict[str, Any]:
    """Return what a ledger entry's details say of replicas that were missing: nothing if none was."""
    return {"missing": list(missing)} if missing else {}
