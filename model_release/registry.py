"""The desired state: which run users should get, and how that may change.

Every function here takes a :class:`Registry` and returns the next one; nothing is read or written.  A change of the
desired state raises ``generation`` by one; a change that is already true returns the same object.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from typing import Annotated, Literal, Protocol

from pydantic import AwareDatetime, Field, model_validator

from model_release.artifact import Frozen, RunId, Sha256
from model_release.errors import GenerationConflictError, InvalidInputError, LatchedError, RunNotFoundError

HISTORY_LIMIT = 1000

TrialMode = Literal["shadow", "canary"]
Cause = Literal["release", "rollback", "person"]
Ending = Literal["superseded", "rolled_back", "withdrawn"]


class Current(Frozen):
    """The run that users get; ``previous_run_id`` is the one it replaced, and goes back to if it is not proved."""

    run_id: RunId
    release_id: str
    since: AwareDatetime
    generation: Annotated[int, Field(ge=1)]
    previous_run_id: RunId | None = None


class PastCurrent(Frozen):
    """A run that users got once, and how that ended."""

    run_id: RunId
    release_id: str
    since: AwareDatetime
    until: AwareDatetime
    generation: Annotated[int, Field(ge=1)]
    until_generation: Annotated[int, Field(ge=2)]
    previous_run_id: RunId | None = None
    ended: Ending


class Candidate(Frozen):
    """The run under trial; it drops out by itself when ``lease_until`` has passed."""

    run_id: RunId
    mode: TrialMode
    rollout: Annotated[float, Field(ge=0.0, le=1.0)]
    release_id: str
    since: AwareDatetime
    generation: Annotated[int, Field(ge=1)]
    lease_until: AwareDatetime | None = None

    def expired(self, now: dt.datetime) -> bool:
        """Whether the lease has run out."""
        return self.lease_until is not None and now >= self.lease_until


class Latch(Frozen):
    """Stops automatic releases until a person clears it."""

    reason: str
    by: str
    since: AwareDatetime


class RegisteredRun(Frozen):
    """A run whose manifest is pinned: a later change of its files is noticed."""

    run_id: RunId
    manifest_sha256: Sha256
    registered_at: AwareDatetime
    release_id: str


class Registry(Frozen):
    """``models/model_registry.json``: the desired state of the whole fleet."""

    schema_version: Literal[1] = 1
    generation: Annotated[int, Field(ge=0)] = 0
    current: Current | None = None
    candidate: Candidate | None = None
    latch: Latch | None = None
    history: tuple[PastCurrent, ...] = ()
    runs: tuple[RegisteredRun, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Registry:
        marks = [part.generation for part in (self.current, self.candidate) if part is not None]
        if any(mark > self.generation for mark in marks):
            raise ValueError(f"a part is newer than the registry's own generation {self.generation}")
        if self.current and self.candidate and self.current.run_id == self.candidate.run_id:
            raise ValueError(f"run {self.current.run_id!r} is current and candidate at once")
        if len({run.run_id for run in self.runs}) != len(self.runs):
            raise ValueError("a run is registered twice")
        return self

    def registered(self, run_id: str) -> RegisteredRun | None:
        """Return the registration of ``run_id``, if there is one."""
        return next((run for run in self.runs if run.run_id == run_id), None)

    def last_good_run_id(self) -> str | None:
        """Return where a rollback without a name goes: the last other run that was not itself rolled back, and is there.

        A run that was pruned is no longer registered.
        """
        there = {run.run_id for run in self.runs}
        seen = {self.current.run_id} if self.current else set()
        for past in self.history:
            if past.run_id not in seen and past.ended == "superseded" and past.run_id in there:
                return past.run_id
            seen.add(past.run_id)
        return None

    def ended_as(self, run_id: str) -> Ending | None:
        """Return how the last time of ``run_id`` as current ended; None if it never was, or is now."""
        if self.current is not None and self.current.run_id == run_id:
            return None
        return next((past.ended for past in self.history if past.run_id == run_id), None)


Transition = Callable[[Registry], Registry]


class RegistryStore(Protocol):
    """Where the registry is kept; an object store with conditional put can stand behind it too."""

    def read(self) -> Registry:
        """Return the registry; a damaged one raises ``StateCorruptError``, never reads as empty."""

    def update(self, transition: Transition, *, expected_generation: int | None = None) -> Registry:
        """Apply ``transition`` to the state as it is now, atomically, and return the result.

        Raises:
            GenerationConflictError: the state is not at ``expected_generation``.
        """


def expect(registry: Registry, generation: int | None) -> None:
    """Raise ``GenerationConflictError`` unless ``generation`` is None or the registry's own."""
    if generation is not None and registry.generation != generation:
        raise GenerationConflictError(expected=generation, actual=registry.generation)


def register(registry: Registry, *, run_id: str, manifest_sha256: str, release_id: str, at: dt.datetime) -> Registry:
    """Pin the manifest of a run; the desired state, and so the generation, stays as it is.

    Raises:
        InvalidInputError: the run is registered with another manifest.
    """
    known = registry.registered(run_id)
    if known is not None:
        if known.manifest_sha256 != manifest_sha256:
            raise InvalidInputError(
                f"run {run_id!r} is registered with manifest {known.manifest_sha256[:12]}, its files now have "
                f"{manifest_sha256[:12]}: a run never changes; train a new one"
            )
        return registry
    run = RegisteredRun(run_id=run_id, manifest_sha256=manifest_sha256, registered_at=at, release_id=release_id)
    return _next(registry, bump=False, runs=(run, *registry.runs))


def forget(registry: Registry, run_ids: Collection[str]) -> Registry:
    """Drop the pins of runs whose files are gone; the desired state, and so the generation, stays as it is.

    Raises:
        InvalidInputError: one of them is current, or on trial.
    """
    named = {part.run_id for part in (registry.current, registry.candidate) if part is not None}
    wrong = sorted(named & set(run_ids))
    if wrong:
        raise InvalidInputError(f"run {wrong[0]!r} is current or on trial: it is never forgotten")
    runs = tuple(run for run in registry.runs if run.run_id not in run_ids)
    return registry if len(runs) == len(registry.runs) else _next(registry, bump=False, runs=runs)


def promote(registry: Registry, *, run_id: str, release_id: str, at: dt.datetime, cause: Cause = "release") -> Registry:
    """Make ``run_id`` current; the run before it goes to the history, and any candidate is cleared.

    Raises:
        RunNotFoundError: the run is not registered.
        LatchedError: the latch is set and ``cause`` is an automatic release.
    """
    _need_registered(registry, run_id)
    if cause == "release" and registry.latch is not None:
        raise LatchedError(
            f"automatic releases are stopped since {registry.latch.since:%Y-%m-%d %H:%M:%SZ} by {registry.latch.by}: "
            f"{registry.latch.reason}; a person clears the latch with a reason"
        )
    old = registry.current
    if old is not None and old.run_id == run_id and registry.candidate is None:
        return registry
    if old is not None and old.run_id == run_id:
        return _next(registry, candidate=None)
    # a person who names a run that once served well goes back; one who names a rolled-back run tries it again
    back = cause == "rollback" or (cause == "person" and registry.ended_as(run_id) == "superseded")
    current = Current(
        run_id=run_id,
        release_id=release_id,
        since=at,
        generation=registry.generation + 1,
        previous_run_id=old.run_id if old is not None else None,
    )
    history = _past(registry, "rolled_back" if back else "superseded", at)
    return _next(registry, current=current, candidate=None, history=history)


def withdraw(registry: Registry, *, at: dt.datetime) -> Registry:
    """Leave no run current: the way back from a first release that failed."""
    if registry.current is None and registry.candidate is None:
        return registry
    return _next(registry, current=None, candidate=None, history=_past(registry, "withdrawn", at))


def start_trial(
    registry: Registry,
    *,
    run_id: str,
    mode: TrialMode,
    rollout: float,
    release_id: str,
    at: dt.datetime,
    lease_until: dt.datetime | None = None,
) -> Registry:
    """Put ``run_id`` on trial beside the current run, or change the mode or share of its trial.

    Raises:
        RunNotFoundError: the run is not registered.
        LatchedError: the latch is set.
        InvalidInputError: it is the current run, or there is no current run to compare with.
    """
    _need_registered(registry, run_id)
    if registry.latch is not None:
        raise LatchedError(f"no new trial while the latch is set: {registry.latch.reason}")
    if registry.current is None:
        raise InvalidInputError(f"run {run_id!r} can't be tried: no run is current yet; release one with mode primary")
    if registry.current.run_id == run_id:
        raise InvalidInputError(f"run {run_id!r} is current already: there is nothing to try")
    old = registry.candidate
    same = old is not None and (old.run_id, old.mode, old.rollout, old.release_id) == (
        run_id,
        mode,
        rollout,
        release_id,
    )
    if same:
        return registry
    candidate = Candidate(
        run_id=run_id,
        mode=mode,
        rollout=rollout,
        release_id=release_id,
        since=at,
        generation=registry.generation + 1,
        lease_until=lease_until,
    )
    return _next(registry, candidate=candidate)


def end_trial(registry: Registry) -> Registry:
    """Drop the candidate, if there is one; users keep the current run."""
    return registry if registry.candidate is None else _next(registry, candidate=None)


def renew_lease(registry: Registry, *, release_id: str, lease_until: dt.datetime) -> Registry:
    """Move the end of the candidate's lease; the desired state, and so the generation, stays as it is.

    Raises:
        InvalidInputError: no candidate of this release is on trial.
    """
    old = registry.candidate
    if old is None or old.release_id != release_id:
        raise InvalidInputError(f"release {release_id!r} has no candidate on trial: its lease can't be renewed")
    if old.lease_until is not None and old.lease_until >= lease_until:
        return registry
    return _next(registry, bump=False, candidate=old.model_copy(update={"lease_until": lease_until}))


def set_latch(registry: Registry, *, reason: str, by: str, at: dt.datetime) -> Registry:
    """Stop automatic releases; a latch that is set keeps its first reason."""
    return registry if registry.latch else _next(registry, latch=Latch(reason=reason, by=by, since=at))


def clear_latch(registry: Registry) -> Registry:
    """Allow automatic releases again."""
    return registry if registry.latch is None else _next(registry, latch=None)


def _past(registry: Registry, ended: Ending, at: dt.datetime) -> tuple[PastCurrent, ...]:
    """Return the history with the current run, if there is one, at its front."""
    old = registry.current
    if old is None:
        return registry.history
    until = max(at, old.since)  # a clock may have been set back
    past = PastCurrent(**old.model_dump(), until=until, until_generation=registry.generation + 1, ended=ended)
    return (past, *registry.history)[:HISTORY_LIMIT]


def _need_registered(registry: Registry, run_id: str) -> None:
    if registry.registered(run_id) is None:
        known = ", ".join(run.run_id for run in registry.runs[:5]) or "none"
        raise RunNotFoundError(f"run {run_id!r} is not in the registry (newest known: {known}); register it first")


def _next(registry: Registry, *, bump: bool = True, **changes: object) -> Registry:
    """Return ``registry`` with ``changes``, validated as a whole, one generation later if ``bump``."""
    fields = {name: getattr(registry, name) for name in type(registry).model_fields}
    generation = registry.generation + (1 if bump else 0)
    return Registry.model_validate({**fields, "generation": generation, **changes})
