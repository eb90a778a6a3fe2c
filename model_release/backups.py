"""What a backup is, and what becomes of the desired state when one is restored.  Rules only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from model_release.artifact import Frozen, RunId, Sha256
from model_release.errors import InvalidInputError
from model_release.ledger import Event, LedgerEntry
from model_release.registry import Registry, set_latch

INDEX_NAME = "backup.json"
PARTS = ("models", "data/evaluation", "data/exposures", "data/alert_bridge", "config")
# Above all that replicas serve: what tasks of the lost state still hold in their hands is older than any of it.
GENERATION_MARGIN = 100


class BackedUpFile(Frozen):
    """One file of a backup; ``name`` is its path below the root of the installation."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        steps = name.split("/")
        known = any(name.startswith(f"{part}/") for part in PARTS)
        if not known or "\\" in name or any(step in {"", ".", ".."} or "\0" in step for step in steps):
            raise ValueError(f"{name!r} is no path of an installation")
        return name

    @property
    def part(self) -> str:
        """The folder of the installation that it belongs to."""
        return next(part for part in PARTS if self.name.startswith(f"{part}/"))


class Index(Frozen):
    """``backup.json``, the last file of a backup: what is in it, with hashes."""

    schema_version: Literal[1] = 1
    made_at: AwareDatetime
    generation: Annotated[int, Field(ge=0)]
    current: RunId | None
    runs: tuple[RunId, ...]
    files: tuple[BackedUpFile, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Index:
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("a file is named twice")
        if self.current is not None and self.current not in self.runs:
            raise ValueError(f"the current run {self.current!r} is not in it")
        return self


def restored(
    registry: Registry, *, runs: Collection[str], above: int, made_at: dt.datetime, by: str, at: dt.datetime
) -> Registry:
    """Return the state to go on with: the backup's current run, fenced against everything that came after the backup.

    Its generation lies above ``above``, so that replicas follow it, and no task of the time before can commit.  A trial
    is over, runs whose files are not there are forgotten, and the latch is set: a person looks before releases go on.

    Raises:
        InvalidInputError: the current run's files are not there.
    """
    if registry.current is not None and registry.current.run_id not in runs:
        raise InvalidInputError(f"the current run {registry.current.run_id!r} is not in the backup")
    latched = set_latch(registry, reason=f"restored from the backup of {made_at:%Y-%m-%d %H:%M} UTC", by=by, at=at)
    fields = {name: getattr(latched, name) for name in Registry.model_fields}
    known = tuple(run for run in latched.runs if run.run_id in runs)
    generation = max(registry.generation, above) + GENERATION_MARGIN
    return Registry.model_validate({**fields, "generation": generation, "candidate": None, "runs": known})


def restored_entry(before: Registry, after: Registry, *, made_at: dt.datetime, by: str, at: dt.datetime) -> LedgerEntry:
    """Return what the ledger is told: which run is current from now on, and where that comes from."""
    return LedgerEntry(
        at=at,
        event=Event.RESTORED,
        release_id=f"restore:{after.generation}",
        by=by,
        run_id=after.current.run_id if after.current else None,
        generation=after.generation,
        mode="primary",
        reason=f"restored from the backup of {made_at.isoformat()}",
        details={"made_at": made_at.isoformat(), "backup_generation": before.generation},
    )
