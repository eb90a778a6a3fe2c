"""Evidence of a trial, in memory: series at the bounds of blocks, for checks of the online stage."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from model_release import blocks
from model_release.blocks import Floats, Series
from model_release.checks.trials import TrialView
from model_release.evidence import (
    ARMS,
    History,
    NumberQuery,
    OnlineEvidence,
    Point,
    Points,
    RangeQuery,
    Scrape,
    TrialFacts,
    questions_of,
)
from model_release.policy import LatencyPolicy, OnlinePolicy, RatioPolicy, SampleRatioPolicy

STARTED = dt.datetime(2026, 1, 13, 12, tzinfo=dt.UTC)
STEP = 5.0
REPLICAS = ("replica-1:8000", "replica-2:8000")
USUAL: dict[str, dict[str, Any]] = {
    "ratio": {
        "count": ['bad_total{variant="$arm"}'],
        "of": ['answers_total{variant="$arm"}'],
        "margin": 0.02,
        "worse": "higher",
        "minimum_requests": 50,
    },
    "latency": {"histogram": 'seconds{variant="$arm"}', "margin": 0.05, "minimum_requests": 50},
    "sample_ratio": {"users": 'users{variant="$arm"}', "minimum_users": 100},
    "query": {"query": "overlap", "at_least": 0.5},
}


def online_policy(kind: str, **changes: Any) -> OnlinePolicy:
    """Return a policy with one check of a kind; a change to None leaves the key out."""
    check = {"name": kind.replace("_", "-"), "kind": kind, **USUAL[kind], **changes}
    document = {
        "replicas": "up",
        "minimum_minutes": 1.0,
        "step_seconds": STEP,
        "checks": [{key: value for key, value in check.items() if value is not None}],
    }
    return OnlinePolicy.model_validate_json(json.dumps(document))


def trial(rollout: float = 0.1) -> TrialFacts:
    """Return a canary that began at ``STARTED``."""
    return TrialFacts("run-new", "run-old", "canary", rollout, "release-1", STARTED, None)


def cumulated(per_block: Sequence[float] | Floats) -> Floats:
    """Return a counter at the bounds of blocks, 0 at the first."""
    return np.concatenate([[0.0], np.cumsum(np.asarray(per_block, dtype=np.float64))])


def series(instance: str, values: Floats, **labels: str) -> Series:
    """Return one series of a replica."""
    return Series({"job": "api", "instance": instance, **labels}, np.asarray(values, dtype=np.float64))


def view(policy: OnlinePolicy, width: int, **changes: Any) -> TrialView:
    """Return a trial just after ``width`` blocks, of which nothing is known but that all replicas are scraped."""
    until = STARTED.timestamp()
    for segment in blocks.segments(until, until + 1e6, STEP):
        bounds = segment.bounds[1:]
        until = bounds[min(width, len(bounds)) - 1] if width else until
        width -= min(width, len(bounds))
    now = dt.datetime.fromtimestamp(until + 1.0, dt.UTC)
    scrapes = tuple(Scrape({"job": "api", "instance": name}, 1.0, now.timestamp() - 1.0) for name in REPLICAS)
    found = OnlineEvidence(
        trial=trial(),
        clock_offset_seconds=0.0,
        bounds=blocks.bounds(STARTED.timestamp(), until, STEP),
        scrapes=scrapes,
    )
    return TrialView(policy, trial(), replace(found, **changes), now)


def of_ratio(
    policy: OnlinePolicy, bad: Mapping[str, Sequence[float] | Floats], answers: Mapping[str, Sequence[float] | Floats]
) -> TrialView:
    """Return a trial with so many (bad) answers of each arm per block, the same at every replica."""
    check = policy.checks[0]
    assert isinstance(check, RatioPolicy)
    facts = trial()
    histories = {
        RangeQuery(facts.filled(selector, arm)): History(
            tuple(series(name, cumulated(counts[arm]), variant=arm, of=selector) for name in REPLICAS)
        )
        for selectors, counts in ((check.count, bad), (check.of, answers))
        for selector in selectors
        for arm in ARMS
    }
    return view(policy, len(answers["candidate"]), histories=histories)


def of_latency(policy: OnlinePolicy, buckets: Mapping[str, Mapping[str, Sequence[float] | Floats]]) -> TrialView:
    """Return a trial with so many answers at most as slow as each ``le``, per arm and block, at every replica."""
    check = policy.checks[0]
    assert isinstance(check, LatencyPolicy)
    histories = {
        question: History(
            tuple(
                series(name, cumulated(per_block), variant=arm, le=le)
                for name in REPLICAS
                for le, per_block in buckets[arm].items()
            )
        )
        for arm, question in zip(ARMS, questions_of(check, trial()), strict=True)
        if isinstance(question, RangeQuery)
    }
    return view(policy, len(buckets["candidate"]["+Inf"]), histories=histories)


def of_users(policy: OnlinePolicy, users: Mapping[str, Sequence[float]]) -> TrialView:
    """Return a trial with so many users of each arm at each replica."""
    check = policy.checks[0]
    assert isinstance(check, SampleRatioPolicy)
    empty = view(policy, 100)
    numbers = {
        question: Points(
            tuple(
                Point({"job": "api", "instance": name}, value, empty.now.timestamp() - 1.0)
                for name, value in zip(REPLICAS, users[arm], strict=True)
            )
        )
        for arm, question in zip(ARMS, questions_of(check, trial()), strict=True)
        if isinstance(question, NumberQuery)
    }
    return with_numbers(empty, numbers)


def with_numbers(found: TrialView, numbers: Mapping[NumberQuery, Any]) -> TrialView:
    """Return the trial with other answers about now."""
    return replace(found, online=replace(found.online, numbers=numbers))


def with_series(found: TrialView, query: RangeQuery, *parts: Series) -> TrialView:
    """Return the trial with other series as the answer to one question."""
    histories = {**found.online.histories, query: History(parts)}
    return replace(found, online=replace(found.online, histories=histories))
