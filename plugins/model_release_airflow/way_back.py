"""The one way back: what a release changed is undone, and proved to be undone."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from model_release import fleet, reversal, rollout
from model_release.contract import utc_now
from model_release.fleet import Replica
from model_release.registry import Registry
from model_release_airflow.context import Stores

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_LONGEST_REASON = 2000  # characters, in the ledger


@dataclass(frozen=True)
class WayBack:
    """What became of it: ``message`` for people; ``proved`` whether every replica agrees, or nothing was to do."""

    message: str
    proved: bool


def put_back(
    stores: Stores, replicas: Sequence[Replica], *, release_id: str, by: str, reason: str, seconds: float
) -> WayBack:
    """Make the run from before ``release_id`` desired again, tell every replica, and read back until all agree.

    May be repeated: what was done is found and not done again.

    Args:
        stores: registry and ledger.
        replicas: whom to tell.
        release_id: the release to undo.
        by: who does it.
        reason: why, for the ledger.
        seconds: how long to wait for the replicas.
    """
    reason = reason[:_LONGEST_REASON]
    done = reversal.put_back(stores.registry, stores.ledger, release_id=release_id, by=by, at=utc_now(), reason=reason)
    if done is None:
        return WayBack("nothing had to be put back: what this release changed, if anything, is not in force", True)
    for error in rollout.switch(replicas, done.registry):
        _log.warning("not told to go back: %s", error)
    run = done.registry.current.run_id if done.registry.current else None
    what = f"run {run}" if run else "no run, as before,"
    disagreements = agree_in_time(replicas, done.registry, seconds=seconds)
    if disagreements:
        return WayBack(
            f"{what} is desired again at generation {done.registry.generation}, but not yet served everywhere "
            f"({'; '.join(disagreements)}); replicas follow the registry by themselves when they can",
            False,
        )
    reversal.conclude_put_back(stores.ledger, done, release_id=release_id, by=by, at=utc_now())
    return WayBack(f"{what} is served again by every replica, generation {done.registry.generation}", True)


def agree_in_time(
    replicas: Sequence[Replica],
    desired: Registry,
    *,
    seconds: float,
    reads: int = 2,
    poll_seconds: float = _POLL_SECONDS,
) -> list[str]:
    """Read until all replicas agree ``reads`` times in a row; return what was wrong last when time is up."""
    deadline = time.monotonic() + seconds
    agreed = 0
    while True:
        disagreements = fleet.disagreements(replicas, desired)
        agreed = 0 if disagreements else agreed + 1
        if agreed >= reads:
            return []
        if time.monotonic() >= deadline:
            return disagreements or [f"agreed {agreed} of {reads} times before the time was up"]
        time.sleep(poll_seconds)
