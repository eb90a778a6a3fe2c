"""What is known of the run, the registry and the world around a release."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True)
class RunFacts:
    """The candidate's artifact as it lies in ``models/``."""

    manifest_sha256: str
    as_of: dt.datetime


@dataclass(frozen=True)
class RegistryFacts:
    """The desired state when the evidence was taken."""

    generation: int
    current_run_id: str | None
    current_manifest_sha256: str | None
    candidate_manifest_sha256: str | None  # as it was registered; None: not registered yet
    latch: str | None  # why automatic releases are stopped; None: they are not


@dataclass(frozen=True)
class Alert:
    """An alert as Alertmanager has it.

    Attributes:
        fingerprint: Alertmanager's name of these labels; with ``starts_at`` it names one firing.
        silenced_by: ids of the silences that keep its messages back.
        inhibited: whether a broader alert keeps them back.
    """

    labels: Mapping[str, str]
    state: Literal["active", "suppressed", "unprocessed"]
    silenced: bool
    starts_at: dt.datetime
    summary: str = ""
    fingerprint: str = ""
    silenced_by: tuple[str, ...] = ()
    inhibited: bool = False


class Reconciliation(BaseModel):
    """``reconciliation_<date>.json``: what was promised against what happened; keys that no gate uses are ignored.

    ``date`` is a day in the zone of ``written_at``.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, strict=True)

    schema_version: Literal[1]
    date: dt.date
    written_at: AwareDatetime
    status: Literal["agrees", "differs", "missing"]
    problems: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Reconciliation:
        if (self.status == "agrees") != (not self.problems):
            told = f"{len(self.problems)} problems" if self.problems else "no problem"
            raise ValueError(f"status {self.status!r} and {told} contradict each other")
        return self

    @property
    def day(self) -> tuple[dt.datetime, dt.datetime]:
        """When the day that it is about began and ended."""
        start = dt.datetime.combine(self.date, dt.time(), self.written_at.tzinfo)
        return start, start + dt.timedelta(days=1)
