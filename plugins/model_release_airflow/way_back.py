"""The one way back: what a release changed is undone, and proved to be undone."""

from __future__ import annotations

from dataclasses import dataclass

from model_release import reversal
from model_release.contract import utc_now
from model_release_airflow.context import Stores
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.roll import agree_in_time, report, tell

_LONGEST_REASON = 2000  # characters, in the ledger


@dataclass(frozen=True)
class WayBack:
    """What became of it: ``message`` for people; ``proved`` whether the replicas agree, or nothing was to do."""

    message: str
    proved: bool


def put_back(
    stores: Stores,
    hook: RecommendationApiHook,
    *,
    quorum: int | str,
    release_id: str,
    by: str,
    reason: str,
    seconds: float,
) -> WayBack:
    """Make the run from before ``release_id`` desired again, tell every replica, and read back until all agree.

    May be repeated: what was done is found and not done again.

    Args:
        stores: registry and ledger.
        hook: where the replicas are; those that join meanwhile are told too.
        quorum: how many of them have to be there.
        release_id: the release to undo.
        by: who does it.
        reason: why, for the ledger.
        seconds: how long to wait for the replicas.
    """
    reason = reason[:_LONGEST_REASON]
    done = reversal.put_back(stores.registry, stores.ledger, release_id=release_id, by=by, at=utc_now(), reason=reason)
    if done is None:
        return WayBack("nothing had to be put back: what this release changed, if anything, is not in force", True)
    told = tell(hook, done.registry)
    run = done.registry.current.run_id if done.registry.current else None
    what = f"run {run}" if run else "no run, as before,"
    roll = agree_in_time(hook, done.registry, quorum=quorum, seconds=seconds, told=told)
    if roll.blocking:
        return WayBack(
            f"{what} is desired again at generation {done.registry.generation}, but not yet served everywhere "
            f"({'; '.join(roll.blocking)}); replicas follow the registry by themselves when they can",
            False,
        )
    missing = report(roll)
    reversal.conclude_put_back(stores.ledger, done, release_id=release_id, by=by, at=utc_now(), missing=missing)
    everybody = f"every replica but {', '.join(missing)}" if missing else "every replica"
    return WayBack(f"{what} is served again by {everybody}, generation {done.registry.generation}", True)
