"""Checks before a trial: data, the run itself, and the run against the current one, from files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_release.policy.base import CheckPolicy, Confidence, Hours, Limits, Slice, Users

_MOST_RESAMPLES = 1_000_000
_TAIL_RESAMPLES = 10  # a quantile that rests on fewer resamples beyond it is noise


class DataQualityPolicy(CheckPolicy):
    """Every table's data-quality score is at least ``minimum_score`` (0 to 100); ``tables`` must be among them."""

    kind: Literal["data_quality"]
    minimum_score: Annotated[float, Field(gt=0, le=100)]
    tables: Annotated[tuple[str, ...], Field(min_length=1)]


class FreshnessPolicy(CheckPolicy):
    """The data, its last check and the evaluation are not too old; ``tables`` must have an age."""

    kind: Literal["freshness"]
    tables: tuple[str, ...] = ()
    maximum_data_age_hours: Hours | None = None
    maximum_check_age_hours: Hours | None = None
    maximum_evaluation_age_hours: Hours | None = None

    @model_validator(mode="after")
    def _something(self) -> FreshnessPolicy:
        limits = (self.maximum_data_age_hours, self.maximum_check_age_hours, self.maximum_evaluation_age_hours)
        if not any(limit is not None for limit in limits):
            raise ValueError(
                "give at least one of maximum_data_age_hours, maximum_check_age_hours, maximum_evaluation_age_hours"
            )
        if (self.maximum_data_age_hours is None) != (not self.tables):
            raise ValueError("tables and maximum_data_age_hours belong together: give both or neither")
        return self


class AbsolutePolicy(CheckPolicy, Limits):
    """A metric of the run itself lies between fixed limits."""

    kind: Literal["absolute"]
    metric: str
    minimum_users: Users


class ComparisonPolicy(CheckPolicy):
    """The mean of a per-user metric, candidate against current, by one bound of a confidence interval."""

    metric: str
    confidence: Confidence = 0.95
    method: Literal["t", "bootstrap"] = "bootstrap"
    resamples: Annotated[int, Field(ge=100, le=_MOST_RESAMPLES)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    minimum_users: Users
    slices: Annotated[tuple[Slice, ...], Field(min_length=1)] = (Slice(),)

    @model_validator(mode="after")
    def _fits_together(self) -> ComparisonPolicy:
        for key, value in (("resamples", self.resamples), ("seed", self.seed)):
            if self.method == "t" and value is not None:
                raise ValueError(f"{key} {value} and method t exclude each other: {key} belongs to method bootstrap")
        if len(set(self.slices)) != len(self.slices):
            raise ValueError("slices holds the same slice twice")
        if self.method == "bootstrap" and self.bootstrap_resamples > _MOST_RESAMPLES:
            raise ValueError(
                f"confidence {self.confidence} and method bootstrap don't fit: {self.bootstrap_resamples} resamples "
                f"would be needed, at most {_MOST_RESAMPLES} are made; less confidence, or method t"
            )
        if self.bootstrap_resamples * (1 - self.confidence) < _TAIL_RESAMPLES:
            raise ValueError(
                f"resamples {self.bootstrap_resamples} and confidence {self.confidence:g} don't fit: fewer than "
                f"{_TAIL_RESAMPLES} resamples lie beyond the bound; more resamples or less confidence"
            )
        return self

    @property
    def bootstrap_resamples(self) -> int:
        """Number of resamples of method ``bootstrap``; enough for confidence and slices unless it is set."""
        if self.resamples is not None:
            return self.resamples
        return max(2000, int(2 * _TAIL_RESAMPLES * len(self.slices) / (1 - self.confidence)))


class NonInferiorityPolicy(ComparisonPolicy):
    """The candidate is not worse than the current run by a margin or more."""

    kind: Literal["non_inferiority"]
    margin: Annotated[float, Field(gt=0)] | None = None
    relative_margin: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_margin(self) -> NonInferiorityPolicy:
        if self.margin is not None and self.relative_margin is not None:
            raise ValueError(f"margin {self.margin:g} and relative_margin {self.relative_margin:g} exclude each other")
        if self.margin is None and self.relative_margin is None:
            raise ValueError("give margin (in units of the metric) or relative_margin (share of the current mean)")
        return self


class SuperiorityPolicy(ComparisonPolicy):
    """The candidate is better than the current run by more than a gain; a gain of 0 is just better."""

    kind: Literal["superiority"]
    gain: Annotated[float, Field(ge=0)] | None = None
    relative_gain: Annotated[float, Field(ge=0, lt=10)] | None = None

    @model_validator(mode="after")
    def _one_gain(self) -> SuperiorityPolicy:
        if self.gain is not None and self.relative_gain is not None:
            raise ValueError(f"gain {self.gain:g} and relative_gain {self.relative_gain:g} exclude each other")
        if self.gain is None and self.relative_gain is None:
            raise ValueError("give gain (in units of the metric; 0: just better) or relative_gain")
        return self
