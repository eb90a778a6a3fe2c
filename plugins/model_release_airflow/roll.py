"""The roll of the fleet, called by a worker or by a trigger: who is there now, and does everybody serve what is desired.

Who is on it is found out anew at each call, from the connection and the name service: replicas come and go meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_release import rollout
from model_release.attendance import Attendance, attend
from model_release.errors import ConfigurationError, ModelReleaseError
from model_release.policy import default_policy_path, load_policy
from model_release.policy.quorum import EVERYONE, needed
from model_release.reconcile_state import to_tell
from model_release.registry import Registry
from model_release.rollout import Move
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

_log = logging.getLogger(__name__)
_SHORTEST_LOOK = 2.0  # seconds: a busy machine opens its connections slowly, and that is no reason to defer


@dataclass(frozen=True)
class Roll:
    """One call of the roll: the ``addresses`` on it, none if they could not be found out, and who answered what."""

    addresses: tuple[str, ...]
    attendance: Attendance

    @property
    def blocking(self) -> tuple[str, ...]:
        """What stands in the way; empty: the fleet agrees."""
        return self.attendance.blocking

    @property
    def lagging(self) -> frozenset[str]:
        """Addresses of the replicas that could be told to follow."""
        return frozenset(to_tell(self.attendance.deviations))

    def missing(self, known: Iterable[str] = ()) -> list[str]:
        """Return who is missing and need not be there, and which of the ``known`` are on the roll no more."""
        return sorted({*self.attendance.missing, *(set(known) - set(self.addresses))})


def quorum_of(policy: str | None) -> int | str:
    """Return the quorum that a policy file (None: the default one) asks for; a file that can't be read: everybody."""
    path = Path(policy) if policy else default_policy_path()
    try:
        return load_policy(path).quorum
    except ConfigurationError as error:
        _log.warning("no replica may be missing, as the policy's quorum is not known: %s", error)
        return EVERYONE


def call_roll(
    hook: RecommendationApiHook, desired: Registry, quorum: int | str, connection: Connection | None = None
) -> Roll:
    """Find out which replicas there are, and read each once.

    What keeps the roll from being called, as a name that does not resolve at this moment, blocks like a replica.
    """
    addresses: tuple[str, ...] = ()
    try:
        with hook.replicas(connection) as replicas:
            addresses = tuple(replica.url for replica in replicas)
            return Roll(addresses, attend(replicas, desired, needed=needed(quorum, len(replicas))))
    except ModelReleaseError as error:
        return Roll(addresses, Attendance(deviations=(), blocking=(str(error),), missing=(), workers=0))


def tell(
    hook: RecommendationApiHook,
    registry: Registry,
    move: Move | None = None,
    *,
    only: Collection[str] | None = None,
    besides: Collection[str] = (),
) -> list[str]:
    """Tell all replicas, or ``only`` some, but none of ``besides``; return who acknowledged.  Only from a worker."""
    try:
        with hook.replicas() as replicas:
            asked = [one for one in replicas if (only is None or one.url in only) and one.url not in besides]
            errors = rollout.switch(asked, registry, move) if asked else []
    except ModelReleaseError as error:
        _log.warning("nobody told: %s", error)
        return []
    for failure in errors:
        _log.warning("not told: %s", failure)
    failed = {failure.replica for failure in errors}
    return [replica.url for replica in asked if replica.url not in failed]


def agree_in_time(
    hook: RecommendationApiHook,
    desired: Registry,
    *,
    quorum: int | str,
    seconds: float,
    reads: int = 2,
    poll_seconds: float = 0.5,
    told: Iterable[str] | None = None,
) -> Roll:
    """Call the roll until it agrees ``reads`` times in a row; return the last one, which blocks if time is up.

    ``told``: who was told; others that lag are told once, None: nobody is.  For a worker, as it sleeps.
    """
    deadline = time.monotonic() + seconds
    known = None if told is None else set(told)
    agreed = 0
    while True:
        roll = call_roll(hook, desired, quorum)
        agreed = 0 if roll.blocking else agreed + 1
        if agreed >= reads:
            return roll
        if time.monotonic() >= deadline:
            too_few = (f"agreed {agreed} of {reads} times before the time was up",)
            return replace(roll, attendance=replace(roll.attendance, blocking=roll.blocking or too_few))
        if known is not None and roll.lagging - known:
            tell(hook, desired, only=roll.lagging - known)
            known |= roll.lagging
        time.sleep(poll_seconds)


def agree_at_once(
    hook: RecommendationApiHook, desired: Registry, *, quorum: int | str, reads: int, poll_seconds: float
) -> bool:
    """Whether the fleet agrees ``reads`` times in a row from now on, and no read is slow; for a worker."""
    if call_roll(hook, desired, quorum).blocking:
        return False
    seconds = max(_SHORTEST_LOOK, reads * poll_seconds)
    roll = agree_in_time(hook, desired, quorum=quorum, seconds=seconds, reads=reads - 1, poll_seconds=poll_seconds)
    return not roll.blocking


def report(roll: Roll, known: Iterable[str] = ()) -> list[str]:
    """Log who is missing; return their addresses."""
    gone = set(known) - set(roll.addresses)
    for url in (missing := roll.missing(known)):
        _log.warning("missing: %s %s", url, "is on the list of replicas no more" if url in gone else "can't be reached")
    return missing
