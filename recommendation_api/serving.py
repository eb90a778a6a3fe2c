"""What this process serves at one moment: one immutable object, replaced by one assignment."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from model_release.contract import Desired, Trial
from model_release.registry import Candidate, Registry
from recommendation_api.model_store import LoadedRun

_SCALE = float(1 << 64)
_EARLIER_RUNS = 5  # whose popular items may have to stand in


@dataclass(frozen=True)
class Serving:
    """A generation of the desired state, with its runs loaded.

    Attributes:
        registry: the desired state that this is, as far as :func:`wanted_of` keeps it.
        current: the run that users get; None: none is desired, or it can't be loaded (see ``problem``).
        candidate: the run on trial.
        fallback: popular items for when there is no usable run.
        problem: why ``current`` is not what is desired.
        lease_until: end of the candidate's lease in Unix seconds; infinity without one.
    """

    registry: Registry = field(default_factory=Registry)
    current: LoadedRun | None = None
    candidate: LoadedRun | None = None
    fallback: tuple[str, ...] = ()
    problem: str | None = None
    lease_until: float = float("inf")

    @property
    def generation(self) -> int:
        """The generation that is served."""
        return self.registry.generation

    def candidate_at(self, now: float) -> Candidate | None:
        """Return what is desired of the candidate at ``now`` (Unix seconds), if it is served: an expired lease ends that."""
        return self.registry.candidate if self.candidate is not None and now < self.lease_until else None

    def trial(self, now: float) -> Trial | None:
        """Return the trial that is under way at ``now``, in the words of the HTTP contract."""
        return trial_of(self.registry) if self.candidate_at(now) is not None else None

    def in_canary(self, user_id: str, now: float) -> bool:
        """Whether this user gets the candidate: the same answer in every worker, replica and process."""
        desired = self.candidate_at(now)
        if desired is None or desired.mode != "canary":
            return False
        return share_of(user_id, desired.release_id) < desired.rollout

    def in_shadow(self, now: float) -> bool:
        """Whether requests are scored by the candidate too."""
        desired = self.candidate_at(now)
        return desired is not None and desired.mode == "shadow"


def wanted_of(registry: Registry, also: Collection[str] = ()) -> Registry:
    """Return the part of the desired state that a worker needs to follow it: the rest grows with the years.

    Args:
        registry: the desired state.
        also: further runs whose pins are needed.
    """
    history = registry.history[:_EARLIER_RUNS]
    parts = (registry.current, registry.candidate, *history)
    named = {part.run_id for part in parts if part is not None} | set(also)
    runs = tuple(run for run in registry.runs if run.run_id in named)
    return registry.model_copy(update={"history": history, "runs": runs})


def share_of(user_id: str, release_id: str) -> float:
    """Return the place of a user in [0, 1) for one release: another release draws other users."""
    digest = hashlib.blake2b(f"{release_id}\0{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / _SCALE


def trial_of(registry: Registry) -> Trial | None:
    """Return the desired trial in the words of the HTTP contract."""
    candidate = registry.candidate
    return Trial.model_validate(candidate.model_dump(include=set(Trial.model_fields))) if candidate else None


def desired_of(registry: Registry) -> Desired:
    """Return the desired state in the words of the HTTP contract."""
    current = registry.current.run_id if registry.current else None
    return Desired(generation=registry.generation, current=current, candidate=trial_of(registry))


def lease_end(registry: Registry) -> float:
    """Return the end of the candidate's lease in Unix seconds."""
    until: dt.datetime | None = registry.candidate.lease_until if registry.candidate else None
    return until.timestamp() if until is not None else float("inf")
