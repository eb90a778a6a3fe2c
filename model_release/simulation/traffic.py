"""Simulated answers of two runs, as Prometheus would tell of them: counters at the bounds of blocks.

Requests come by a Poisson process, each belongs to one arm by lot, and each counts for a check with a fixed
probability: the answers are as independent as the tests assume.  What real users do between days and hours is not in it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from model_release.blocks import Floats, Series
from model_release.evidence import (
    ARMS,
    Arm,
    History,
    NumberQuery,
    OnlineEvidence,
    Point,
    Points,
    RangeQuery,
    Scrape,
    TrialFacts,
    bucket_selector,
)
from model_release.policy import LatencyPolicy, OnlinePolicy, RatioPolicy, SampleRatioPolicy
from model_release.policy.online import TrialMode

LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds, if no trial says others
_SIGMA = 0.6  # of the logarithm of the time for an answer
_PROCESS = {"job": "simulated", "instance": "simulated:8000"}


@dataclass(frozen=True)
class Traffic:
    """What comes in during a trial, in good times.

    Attributes:
        requests_per_second: to all replicas.
        rollout: share of the requests (shadow) or of the users (canary) that the candidate gets.
        users: how many different ones there are.
        shares: per ratio check.
        latency_median: seconds; None: not known.
        guessed: names of the checks whose share, or latency, nobody gave or measured.
    """

    mode: TrialMode
    requests_per_second: float
    rollout: float
    users: int
    shares: Mapping[str, float] = field(default_factory=dict)
    latency_median: float | None = None
    latency_bounds: Sequence[float] = LATENCY_BOUNDS
    guessed: frozenset[str] = frozenset()

    def rate(self, arm: Arm) -> float:
        """Return requests per second of one arm; a shadow is compared on the requests that it gets too."""
        if arm == "candidate" or self.mode == "shadow":
            return self.requests_per_second * self.rollout
        return self.requests_per_second * (1.0 - self.rollout)


@dataclass(frozen=True)
class Worse:
    """What is wrong with the candidate: ``shares`` more answers are bad, it takes ``latency`` times as long."""

    shares: float = 0.0
    latency: float = 1.0

    @property
    def name(self) -> str:
        """Name for people."""
        parts = [f"{100 * self.shares:g} % of answers worse"] if self.shares else []
        parts += [f"{self.latency:g} times slower"] if self.latency != 1.0 else []
        return ", ".join(parts) or "equal runs"


@dataclass(frozen=True)
class Observed:
    """Everything that could be seen during one simulated trial, up to its end.

    Attributes:
        bounds: of the blocks, Unix times: (blocks + 1,).
        series: per question, values at all bounds.
        users: per question how many users were seen until each bound.
    """

    trial: TrialFacts
    bounds: Floats
    series: Mapping[RangeQuery, tuple[Series, ...]]
    users: Mapping[NumberQuery, Floats]

    def until(self, block: int) -> OnlineEvidence:
        """Return what is known when ``block`` blocks are complete."""
        end = block + 1
        now = float(self.bounds[block])
        return OnlineEvidence(
            trial=self.trial,
            clock_offset_seconds=0.0,
            bounds=self.bounds[:end],
            scrapes=(Scrape(_PROCESS, 1.0, now),),
            histories={
                query: History(tuple(Series(one.labels, one.values[:end]) for one in found))
                for query, found in self.series.items()
            },
            numbers={query: Points((Point(_PROCESS, float(seen[block]), now),)) for query, seen in self.users.items()},
        )

    def time(self, block: int) -> dt.datetime:
        """Return when so many blocks are complete."""
        return dt.datetime.fromtimestamp(float(self.bounds[block]), dt.UTC)


class Lot(Protocol):
    """How counts come about; all arrays are (blocks,)."""

    def requests(self, expected: Floats) -> Floats:
        """Return how many requests come where so many are expected."""

    def hits(self, requests: Floats, share: float) -> Floats:
        """Return how many of the requests count."""

    def parts(self, requests: Floats, shares: Floats) -> Floats:
        """Return how many of the requests fall into each part: (blocks, parts)."""


@dataclass(frozen=True)
class Chance:
    """Counts as they come."""

    rng: np.random.Generator

    def requests(self, expected: Floats) -> Floats:
        """Draw from Poisson's distribution."""
        return self.rng.poisson(expected).astype(np.float64)

    def hits(self, requests: Floats, share: float) -> Floats:
        """Draw from a binomial distribution."""
        return self.rng.binomial(requests.astype(np.int64), share).astype(np.float64)

    def parts(self, requests: Floats, shares: Floats) -> Floats:
        """Draw from a multinomial distribution."""
        return self.rng.multinomial(requests.astype(np.int64), shares).astype(np.float64)


class Expected:
    """Counts as they are on average: fractions too."""

    def requests(self, expected: Floats) -> Floats:
        """Return what is expected."""
        return expected

    def hits(self, requests: Floats, share: float) -> Floats:
        """Return the share."""
        return requests * share

    def parts(self, requests: Floats, shares: Floats) -> Floats:
        """Return all shares."""
        return np.outer(requests, shares)


def observe(
    policy: OnlinePolicy, trial: TrialFacts, bounds: Floats, traffic: Traffic, worse: Worse, lot: Lot
) -> Observed:
    """Draw one trial: the answers to everything that ``policy`` asks about ratios, latency and users."""
    widths = np.diff(bounds)
    requests = {arm: lot.requests(traffic.rate(arm) * widths) for arm in ARMS}
    if traffic.mode == "shadow":
        requests["current"] = requests["candidate"]  # both answer the same ones
    series: dict[RangeQuery, tuple[Series, ...]] = {}
    users: dict[NumberQuery, Floats] = {}
    for check in policy.checks:
        match check:
            case RatioPolicy():
                for arm in ARMS:
                    bad = worse.shares if arm == "candidate" else 0.0
                    _ratio(
                        check, trial, arm, requests[arm], _moved(check, traffic.shares[check.name], bad), series, lot
                    )
            case LatencyPolicy():
                for arm in ARMS:
                    slower = worse.latency if arm == "candidate" else 1.0
                    query = RangeQuery(trial.filled(bucket_selector(check.histogram), arm))
                    series.setdefault(query, _histogram(traffic, requests[arm], slower, lot))
            case SampleRatioPolicy():
                users |= _users(check, trial, traffic, requests, lot)
            case _:
                pass  # not simulated
    return Observed(trial, bounds, series, users)


def _moved(check: RatioPolicy, share: float, by: float) -> float:
    """Return the share after ``by`` of all answers became worse."""
    lower_is_worse = check.worse == "lower" or check.at_least is not None
    return min(1.0, max(0.0, share - by if lower_is_worse else share + by))


def _ratio(
    check: RatioPolicy,
    trial: TrialFacts,
    arm: Arm,
    requests: Floats,
    share: float,
    series: dict[RangeQuery, tuple[Series, ...]],
    lot: Lot,
) -> None:
    """Fill in what one check counts; selectors that another check has too keep what that one drew."""
    counting = [RangeQuery(trial.filled(selector, arm)) for selector in check.count]
    everything = [RangeQuery(trial.filled(selector, arm)) for selector in check.of]
    hits = lot.hits(requests, share)
    inside = [query for query in everything if query in counting]
    outside = [query for query in everything if query not in counting]
    for place, query in enumerate(counting):
        series.setdefault(query, _counter(hits if place == 0 else np.zeros_like(hits)))
    for place, query in enumerate(outside):
        rest = requests - hits if inside else requests
        series.setdefault(query, _counter(rest if place == 0 else np.zeros_like(rest)))


def _histogram(traffic: Traffic, requests: Floats, slower: float, lot: Lot) -> tuple[Series, ...]:
    from scipy.special import ndtr

    limits = np.array(traffic.latency_bounds)
    median = (traffic.latency_median or math.nan) * slower
    below = np.append(ndtr(np.log(limits / median) / _SIGMA), 1.0)
    parts = np.diff(below, prepend=0.0)
    counts = np.cumsum(lot.parts(requests, parts), axis=1)
    names = [*(f"{limit:g}" for limit in limits), "+Inf"]
    return tuple(_counter(counts[:, place], {"le": name})[0] for place, name in enumerate(names))


def _users(
    check: SampleRatioPolicy,
    trial: TrialFacts,
    traffic: Traffic,
    requests: Mapping[Arm, Floats],
    lot: Lot,
) -> dict[NumberQuery, Floats]:
    """Return how many users each arm has seen: requests come from users by lot, and a user stays in one arm."""
    total = np.concatenate([[0], np.cumsum(requests["candidate"] + requests["current"])])
    seen = np.round(traffic.users * -np.expm1(-total / traffic.users))
    tried = np.concatenate([[0.0], np.cumsum(lot.hits(np.diff(seen), traffic.rollout))])
    found = {"candidate": tried, "current": seen - tried}
    return {NumberQuery(trial.filled(check.users, arm)): found[arm] for arm in ARMS}


def _counter(increments: Floats, labels: Mapping[str, str] | None = None) -> tuple[Series, ...]:
    values = np.concatenate([[0.0], np.cumsum(increments, dtype=np.float64)])
    return (Series({**_PROCESS, **(labels or {})}, values),)
