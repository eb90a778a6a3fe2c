"""What a gate judges from.  Each part is either there, or missing for a stated reason; never silently absent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from model_release.artifact import RunId, Sha256
from model_release.policy import ALL, Slice

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Missing:
    """Why a part of the evidence is not there.

    ``settled``: waiting will not bring it (the files are complete, and not about this run).
    """

    reason: str
    settled: bool = False


@dataclass(frozen=True)
class DataQuality:
    """The samples of ``data_quality_metrics.prom``, as they stand there: a value may be NaN.

    Attributes:
        scores: 0 to 100 per table.
        data_age_seconds: age of the newest row per table, at the end of the data that may be looked at.
        measured_at: Unix time of the last run of the stage.
        worst_checks: name of the check with the lowest score per table; none from a stage that does not tell.
    """

    scores: Mapping[str, float]
    data_age_seconds: Mapping[str, float]
    measured_at: float
    worst_checks: Mapping[str, str] = field(default_factory=dict)


class Metrics(BaseModel):
    """One value per metric for the candidate, and for the current run if there is a comparison."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    candidate: Mapping[str, float]
    current: Mapping[str, float] | None = None


class Evaluation(BaseModel):
    """``summary.json`` of one evaluation; keys that the gate does not use are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    schema_version: Literal[1]
    run_id: RunId
    against: RunId | None
    against_reason: str
    comparable: bool
    as_of: AwareDatetime
    window_start: AwareDatetime
    window_end: AwareDatetime
    evaluated_at: AwareDatetime
    users: Annotated[int, Field(ge=0)]
    metrics: Metrics
    catalogue: Metrics
    candidate_manifest_sha256: Sha256
    current_manifest_sha256: Sha256 | None

    @model_validator(mode="after")
    def _consistent(self) -> Evaluation:
        if self.comparable and (self.against is None or self.metrics.current is None):
            raise ValueError("comparable is true, but there is no run compared with, or none of its metrics")
        if self.window_end <= self.window_start:
            raise ValueError(f"window_end {self.window_end} is not after window_start {self.window_start}")
        return self

    def metric(self, name: str) -> float | None:
        """Return a metric of the candidate; ``catalogue.<name>`` is one of the catalogue, None: not measured."""
        group, _, inner = name.rpartition(".")
        source = {"": self.metrics, "catalogue": self.catalogue}.get(group)
        return None if source is None else source.candidate.get(inner)


@dataclass(frozen=True)
class Paired:
    """Values of one metric for the same users: (n,) each, in the same order."""

    users: Strings
    candidate: Floats
    current: Floats


@dataclass(frozen=True)
class PerUser:
    """``per_user.parquet`` as columns of equal length: one row per user and item slice.

    Attributes:
        users: user ids.
        user_slices: activity of the user.
        item_slices: ``all``, ``new`` or ``known``.
        candidate: values per metric; NaN where the file has none.
        current: the same for the current run; empty if there is no comparison.
    """

    users: Strings
    user_slices: Strings
    item_slices: Strings
    candidate: Mapping[str, Floats]
    current: Mapping[str, Floats]

    def paired(self, metric: str, part: Slice) -> Paired | None:
        """Return both runs' values of ``metric`` for one slice; None if the metric was not measured for both."""
        if metric not in self.candidate or metric not in self.current:
            return None
        rows = self.item_slices == part.items
        if part.users != ALL:
            rows &= self.user_slices == part.users
        return Paired(self.users[rows], self.candidate[metric][rows], self.current[metric][rows])


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
class Evidence:
    """Everything a gate may look at for one run.

    Attributes:
        files: SHA-256 of every file that was read, by its name below the evaluation folder.
    """

    run_id: str
    release_id: str | None
    registry: RegistryFacts | Missing
    run: RunFacts | Missing
    data_quality: DataQuality | Missing
    evaluation: Evaluation | Missing
    per_user: PerUser | Missing
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def current_run_id(self) -> str | None:
        """The current run, if the registry could be read and names one."""
        return None if isinstance(self.registry, Missing) else self.registry.current_run_id

    @property
    def no_baseline(self) -> bool:
        """Whether it is known that there is no current run to compare with."""
        return not isinstance(self.registry, Missing) and self.registry.current_run_id is None
