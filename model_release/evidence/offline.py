"""What is known before a trial: the data's quality, and both runs on the same users."""

from __future__ import annotations

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


class SliceFacts(BaseModel):
    """What ``summary.json`` tells of a slice; its means are computed from the per-user values."""

    model_config = ConfigDict(frozen=True)

    users: Annotated[int, Field(ge=0)]


NO_CURRENT = "no current run"  # what ``against_reason`` says where there was nobody to compare with


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
    users_without_interactions: Annotated[int, Field(ge=0)] | None = None
    unknown_users: Mapping[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    slices: Mapping[str, SliceFacts] = Field(default_factory=dict)
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
        marks: what the file says of itself, by the names in ``agreement.PER_USER_MARKS``; empty: nothing.
    """

    users: Strings
    user_slices: Strings
    item_slices: Strings
    candidate: Mapping[str, Floats]
    current: Mapping[str, Floats]
    marks: Mapping[str, str] = field(default_factory=dict)

    def paired(self, metric: str, part: Slice) -> Paired | None:
        """Return both runs' values of ``metric`` for one slice; None if the metric was not measured for both."""
        if metric not in self.candidate or metric not in self.current:
            return None
        rows = self.item_slices == part.items
        if part.users != ALL:
            rows &= self.user_slices == part.users
        return Paired(self.users[rows], self.candidate[metric][rows], self.current[metric][rows])
