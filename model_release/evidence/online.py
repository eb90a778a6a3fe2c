"""What a gate judges from while a run is on trial, and which questions bring it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Literal

import numpy as np

from model_release.blocks import Floats, Series
from model_release.evidence.missing import Missing
from model_release.policy import LatencyPolicy, OnlinePolicy, QueryPolicy, RatioPolicy, SampleRatioPolicy
from model_release.policy.online import TrialMode

Arm = Literal["candidate", "current"]
ARMS: tuple[Arm, ...] = ("candidate", "current")
_NOT_ASKED = Missing("Prometheus was not asked")


@dataclass(frozen=True)
class TrialFacts:
    """The trial that is under way, from the registry."""

    run_id: str
    current_run_id: str
    mode: TrialMode
    rollout: float
    release_id: str
    started_at: dt.datetime
    lease_until: dt.datetime | None

    def filled(self, template: str, arm: Arm = "candidate") -> str:
        """Return a query with its placeholders replaced; run ids hold no character that PromQL reads otherwise."""
        run = self.run_id if arm == "candidate" else self.current_run_id
        values = {"arm": arm, "run": run, "candidate": self.run_id, "current": self.current_run_id}
        return Template(template).substitute(values)


@dataclass(frozen=True)
class RangeQuery:
    """A selector, asked at the bounds of all blocks."""

    selector: str


@dataclass(frozen=True)
class NumberQuery:
    """A query that should give one number, now."""

    query: str


Question = RangeQuery | NumberQuery


@dataclass(frozen=True)
class History:
    """What a range query gave: series at the bounds of the blocks."""

    series: tuple[Series, ...]


@dataclass(frozen=True)
class Point:
    """One series of an answer to a query about now."""

    labels: Mapping[str, str]
    value: float
    at: float  # Unix time of the sample, as Prometheus says


@dataclass(frozen=True)
class Points:
    """What a query about now gave: none, one or several series."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Scrape:
    """The newest scrape of one replica."""

    labels: Mapping[str, str]
    up: float
    at: float  # Unix time


@dataclass(frozen=True)
class OnlineEvidence:
    """Everything that is known of a trial at one moment.

    Attributes:
        trial: what is tried.
        clock_offset_seconds: time of Prometheus minus time here.
        bounds: of the blocks, Unix times, (blocks + 1,).
        scrapes: the newest one of every replica.
        answers: to each question.
    """

    trial: TrialFacts | Missing
    clock_offset_seconds: float | Missing = _NOT_ASKED
    bounds: Floats = field(default_factory=lambda: np.empty(0))
    scrapes: tuple[Scrape, ...] | Missing = _NOT_ASKED
    histories: Mapping[RangeQuery, History | Missing] = field(default_factory=dict)
    numbers: Mapping[NumberQuery, Points | Missing] = field(default_factory=dict)


def questions(policy: OnlinePolicy, trial: TrialFacts) -> tuple[Question, ...]:
    """Return what must be asked to judge ``trial``, each question once."""
    asked: dict[Question, None] = {}
    for check in policy.checks:
        if (
            isinstance(check, (RatioPolicy, LatencyPolicy, SampleRatioPolicy, QueryPolicy))
            and trial.mode in check.modes
        ):
            asked |= dict.fromkeys(questions_of(check, trial))
    return tuple(asked)


def questions_of(
    check: RatioPolicy | LatencyPolicy | SampleRatioPolicy | QueryPolicy, trial: TrialFacts
) -> tuple[Question, ...]:
    """Return what one check needs."""
    match check:
        case RatioPolicy():
            arms = ARMS if check.margin is not None else ARMS[:1]
            return tuple(
                RangeQuery(trial.filled(selector, arm)) for arm in arms for selector in (*check.count, *check.of)
            )
        case LatencyPolicy():
            return tuple(RangeQuery(trial.filled(bucket_selector(check.histogram), arm)) for arm in ARMS)
        case SampleRatioPolicy():
            return tuple(NumberQuery(trial.filled(check.users, arm)) for arm in ARMS)
        case QueryPolicy():
            given = [query for query in (check.query, check.samples) if query is not None]
            return tuple(NumberQuery(trial.filled(query)) for query in given)


def bucket_selector(histogram: str) -> str:
    """Return the selector of the buckets of a histogram: ``name{labels}`` becomes ``name_bucket{labels}``."""
    name, brace, labels = histogram.partition("{")
    return f"{name}_bucket{brace}{labels}"
