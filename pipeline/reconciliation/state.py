"""Ledger, registry and replicas: who says what served."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from model_release import fleet
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import ReplicaError, StateCorruptError
from model_release.exposures import safe_replica
from model_release.fleet import Kind, Replica
from model_release.paths import ReleasePaths
from model_release.reconcile_state import change_under_way, expected
from model_release.reconciling.document import Compared, Serving
from model_release.reconciling.serving import SETTLE, Named, compare_answers, compare_registry
from pipeline.reconciliation.day import Day

_RECENT = dt.timedelta(hours=24)
_UNKNOWN = frozenset({Kind.UNREACHABLE, Kind.REFUSED, Kind.UNREADABLE})


@dataclass(frozen=True)
class States:
    """The three comparisons."""

    serving: Serving
    registry: Compared
    replicas: Compared


def compare(
    paths: ReleasePaths, named: Sequence[Named], day: Day, replicas: Sequence[Replica], now: dt.datetime
) -> States:
    """Compare what ledger, registry, answers and replicas say of a day; the replicas only of a day that has just ended."""
    try:
        entries, registry = FileLedger(paths).read(), FileRegistry(paths).read()
    except StateCorruptError as error:
        lost = Compared(status="missing", reason=str(error))
        return States(Serving(status="missing", reason=str(error)), lost, lost)
    serving = compare_answers(entries, named, day.start, day.end)
    states = compare_registry(entries, registry, day.start, min(day.end, now))
    under_way = change_under_way(registry, entries, now=now, settle_seconds=SETTLE.total_seconds())
    if not replicas:
        return States(serving, states, Compared(status="not_asked", reason="no replica was named"))
    if now - day.end > _RECENT:
        return States(serving, states, Compared(status="not_asked", reason="they tell of now, the day is long over"))
    if under_way is not None:
        return States(serving, states, Compared(status="not_asked", reason=under_way))
    deviations = fleet.observe(replicas, expected(registry, now))
    unknown = [f"{one.replica}: {one.text}" for one in deviations if one.kind in _UNKNOWN]
    wrong = tuple(f"{one.replica}: {one.text}" for one in deviations if one.kind not in _UNKNOWN)
    if wrong:
        return States(serving, states, Compared(status="differs", problems=wrong))
    told = Compared(status="missing", reason="; ".join(unknown)) if unknown else Compared(status="agrees")
    return States(serving, states, told)


def names(replicas: Sequence[Replica], day: Day, now: dt.datetime) -> list[str]:
    """Return the names of the replicas that answer now, as files have them; of a day long over, none."""
    found = []
    if now - day.end <= _RECENT:
        for replica in replicas:
            try:
                found.append(safe_replica(replica.models().replica))
            except ReplicaError:
                continue  # the comparison of the state says so
    return found
