"""What would happen if somebody pressed the button now, from the rules that the DAG itself applies."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from model_release.artifact import Frozen
from model_release.errors import ModelReleaseError
from model_release.ledger import LedgerEntry
from model_release.registry import Registry
from model_release.reversal import rollback_target

_NOBODY = "page:plan"  # no release has this id: it is nothing that was done before


class Plan(Frozen):
    """What a DAG run would do.

    Attributes:
        refused: why it would do nothing; left out: nothing stands in its way as far as is known now.
        from_run: what everybody gets now.
        to_run: what everybody gets then; of a release, if the gate lets it pass.
        ends_trial: the run whose trial it ends.
        latch: whether automatic releases are stopped afterwards.
    """

    refused: str | None
    from_run: str | None
    to_run: str | None
    ends_trial: str | None
    latch: bool


def rollback(registry: Registry, entries: Sequence[LedgerEntry], *, run_id: str | None, now: dt.datetime) -> Plan:
    """Return what ``recommendation_rollback`` would do, to ``run_id`` or to the last good run."""
    target, refused = None, None
    try:
        target = rollback_target(registry, entries, release_id=_NOBODY, asked_at=now, run_id=run_id)
    except ModelReleaseError as error:
        refused = str(error)
    return _plan(registry, target, refused, latch=True)


def release(registry: Registry, *, run_id: str) -> Plan:
    """Return what a release of ``run_id`` would do, if the gate lets it pass."""
    refused = None
    if registry.latch is not None:
        refused = f"automatic releases are stopped by {registry.latch.by}: {registry.latch.reason}"
    elif registry.current is not None and registry.current.run_id == run_id:
        refused = f"run {run_id!r} is current already"
    return _plan(registry, None if refused else run_id, refused, latch=registry.latch is not None)


def _plan(registry: Registry, target: str | None, refused: str | None, *, latch: bool) -> Plan:
    current, candidate = registry.current, registry.candidate
    return Plan(
        refused=refused,
        from_run=None if current is None else current.run_id,
        to_run=target,
        ends_trial=None if candidate is None or refused is not None else candidate.run_id,
        latch=latch if refused is None else registry.latch is not None,
    )
