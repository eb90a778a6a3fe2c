"""Checks during a trial, from Prometheus: candidate against current, while requests come in."""

from __future__ import annotations

import math
import re
import string
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from model_release.policy.base import Budgets, CheckPolicy, Confidence, Limits, Minutes, Seconds, Strict, Users, twice
from model_release.policy.context import AlertsPolicy, ReconciliationPolicy

PLACEHOLDERS = ("arm", "run", "candidate", "current")
_SELECTOR = re.compile(r"""^[A-Za-z_:][A-Za-z0-9_:]*(\{([^{}"']|"[^"]*"|'[^']*')*\})?$""")
_MOST_REQUESTS = 1e9  # of one arm, beyond which no trial is waited for
TrialMode = Literal["shadow", "canary"]


def placeholders(template: str) -> frozenset[str]:
    """Return the placeholders (``$arm``, ``$run``, ...) of a query template."""
    return frozenset(string.Template(template).get_identifiers())


def _check_template(template: str) -> str:
    if not string.Template(template).is_valid():
        raise ValueError(f"{template!r} has a $ that starts no placeholder; write $$ for one")
    unknown = sorted(placeholders(template) - set(PLACEHOLDERS))
    if unknown:
        raise ValueError(
            f"unknown placeholder ${unknown[0]}; there are {', '.join('$' + name for name in PLACEHOLDERS)}"
        )
    return template


def _check_selector(template: str) -> str:
    _check_template(template)
    filled = string.Template(template).substitute(dict.fromkeys(PLACEHOLDERS, "x"))
    if not _SELECTOR.match(filled):
        raise ValueError(
            f"{template!r} is no selector of series: a metric's name and {{labels}}, no functions, no [range]"
        )
    return template


def _check_one_arm_query(template: str) -> str:
    _check_template(template)
    if not template.strip():
        raise ValueError("an empty query")
    return template


Selector = Annotated[str, AfterValidator(_check_selector)]
Query = Annotated[str, AfterValidator(_check_one_arm_query)]
Selectors = Annotated[tuple[Selector, ...], Field(min_length=1)]
Modes = Annotated[tuple[TrialMode, ...], Field(min_length=1)]
Margin = Annotated[float, Field(gt=0, lt=1)]
Requests = Annotated[int, Field(ge=1)]


def _tells_arms_apart(selectors: tuple[str, ...], key: str) -> None:
    if not any(placeholders(selector) & {"arm", "run"} for selector in selectors):
        raise ValueError(f"{key} has no $arm or $run: candidate and current would be the same series")


def _once(key: str, entries: tuple[str, ...] | tuple[float, ...]) -> None:
    again = twice(entries)
    if again is not None:
        raise ValueError(f"{key} holds {again!r} twice")


class OnlineCheckPolicy(CheckPolicy):
    """What all kinds of online check have: the modes of trial in which they are made."""

    modes: Modes = ("shadow", "canary")

    @model_validator(mode="after")
    def _modes_once(self) -> OnlineCheckPolicy:
        _once("modes", self.modes)
        return self


class SequentialPolicy(OnlineCheckPolicy):
    """An always-valid test: it may be looked at as often as one likes.

    ``cluster_size``: answers that count as one observation, since those to one user resemble each other.
    """

    confidence: Confidence = 0.99
    minimum_requests: Requests
    cluster_size: Annotated[float, Field(ge=1, le=1e6)] = 1.0

    def fewest_requests(self, distance: float) -> float:
        """Return how many answers a PASS takes at least, if shares are as far as ``distance`` from the limit.

        Best case: both arms at 0, or one at 0 and its limit at ``distance``.  An answer then multiplies the e-value by at
        most 1/(1 - distance), and 1/(1 - confidence) is needed; see :mod:`model_release.sequential`.
        """
        return self.cluster_size * math.log1p(-self.confidence) / math.log1p(-distance)

    def _check_reachable(self, key: str, value: float, distance: float) -> None:
        fewest = self.fewest_requests(distance)
        if fewest > _MOST_REQUESTS:
            raise ValueError(
                f"{key} {value:g}, confidence {self.confidence} and cluster_size {self.cluster_size:g} don't fit: "
                f"even at best it would take {fewest:.2g} answers to pass"
            )


class RatioPolicy(SequentialPolicy):
    """A share of answers: of the candidate against the current run's, or of the candidate against a limit."""

    kind: Literal["ratio"]
    count: Selectors
    of: Selectors
    margin: Margin | None = None
    worse: Literal["higher", "lower"] | None = None
    at_most: Annotated[float, Field(gt=0, lt=1)] | None = None
    at_least: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> RatioPolicy:
        given = [key for key in ("margin", "at_most", "at_least") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{' and '.join(given)} exclude each other" if given else "give margin, at_most or at_least"
            )
        if (self.margin is None) != (self.worse is None):
            raise ValueError("margin and worse belong together: worse says whether a higher or a lower share is bad")
        _once("count", self.count)
        _once("of", self.of)
        if set(self.count) == set(self.of):
            raise ValueError("count and of are the same: the share would always be 1")
        if self.margin is not None:
            _tells_arms_apart(self.count, "count")
            if set(self.modes) != {"shadow"}:  # where both runs answer the same requests
                _tells_arms_apart(self.of, "of")
            self._check_reachable("margin", self.margin, self.margin)
        if self.at_most is not None:
            self._check_reachable("at_most", self.at_most, self.at_most)
        if self.at_least is not None:
            self._check_reachable("at_least", self.at_least, 1.0 - self.at_least)
        return self


class LatencyPolicy(SequentialPolicy):
    """At no bound of a histogram is the share of slower answers larger than the current run's by ``margin`` or more."""

    kind: Literal["latency"]
    histogram: Selector
    margin: Margin
    slower_than: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] | None = None
    modes: Modes = ("canary",)

    @model_validator(mode="after")
    def _two_arms(self) -> LatencyPolicy:
        _tells_arms_apart((self.histogram,), "histogram")
        if self.slower_than is not None:
            _once("slower_than", self.slower_than)
        self._check_reachable("margin", self.margin, self.margin)
        return self


class SampleRatioPolicy(OnlineCheckPolicy):
    """The candidate gets the share of users that the trial asks for: else one arm loses users, and nothing can be compared."""

    kind: Literal["sample_ratio"]
    users: Selector
    level: Annotated[float, Field(gt=0, le=0.05)] = 0.001
    minimum_users: Users
    modes: Modes = ("canary",)

    @model_validator(mode="after")
    def _two_arms(self) -> SampleRatioPolicy:
        _tells_arms_apart((self.users,), "users")
        if "shadow" in self.modes:
            raise ValueError("modes shadow: a shadow gets a share of requests, not of users")
        return self


class QueryPolicy(OnlineCheckPolicy, Limits):
    """One number, from any query, lies between fixed limits; no statistics stand behind it."""

    kind: Literal["query"]
    query: Query
    samples: Query | None = None
    minimum_samples: Requests | None = None
    unit: str = ""

    @model_validator(mode="after")
    def _samples(self) -> QueryPolicy:
        if (self.samples is None) != (self.minimum_samples is None):
            raise ValueError(
                "samples and minimum_samples belong together: the query that counts, and how many are enough"
            )
        for key in ("query", "samples"):
            used = placeholders(getattr(self, key) or "") & {"arm", "run"}
            if used:
                raise ValueError(f"{key} has ${min(used)}, but asks for one number: name $candidate or $current")
        return self


OnlineCheck = Annotated[
    RatioPolicy | LatencyPolicy | SampleRatioPolicy | QueryPolicy | AlertsPolicy | ReconciliationPolicy,
    Field(discriminator="kind"),
]


class OnlinePolicy(Strict):
    """What a candidate must show while it is on trial.

    Attributes:
        replicas: selector of one series per replica, 1 if it was scraped: ``up{job="..."}``.
        maximum_age_seconds: of the newest scrape of each replica.
        step_seconds: width of the first blocks of requests; at least the scrape interval.
        minimum_minutes: no trial passes earlier.
    """

    budgets: Budgets = Budgets(inconclusive_minutes=240.0)
    minimum_minutes: Minutes = 10.0
    replicas: Selector
    maximum_age_seconds: Seconds = 60.0
    step_seconds: Annotated[float, Field(ge=1, le=600)] = 5.0
    checks: Annotated[tuple[OnlineCheck, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _possible(self) -> OnlinePolicy:
        if self.minimum_minutes > 0 and self.minimum_minutes >= self.budgets.inconclusive_minutes:
            raise ValueError(
                f"minimum_minutes {self.minimum_minutes:g} and budgets.inconclusive_minutes "
                f"{self.budgets.inconclusive_minutes:g} don't fit: no trial could pass"
            )
        if self.step_seconds >= 60.0 * self.budgets.inconclusive_minutes:
            raise ValueError(
                f"step_seconds {self.step_seconds:g} and budgets.inconclusive_minutes "
                f"{self.budgets.inconclusive_minutes:g} don't fit: the wait ends before the first step"
            )
        self._survives_a_gap()
        used = placeholders(self.replicas)
        if used:
            raise ValueError(f"replicas has ${min(used)}, but is the same for both runs")
        return self

    def _survives_a_gap(self) -> None:
        """Refuse a trial that one missed scrape rejects: counters missing at a bound are missed until the next one."""
        from model_release.blocks import segments  # with NumPy: a DAG file is read without

        error, longest = self.budgets.error_minutes, self.budgets.inconclusive_minutes
        width = segments(0.0, 60.0 * longest, self.step_seconds)[-1].step
        if 0.0 < error < width / 60.0 and any(isinstance(check, SequentialPolicy) for check in self.checks):
            raise ValueError(
                f"budgets.error_minutes {error:g} and budgets.inconclusive_minutes {longest:g} don't fit: requests are "
                f"then counted in steps of {width:g} seconds, and one missed scrape at their seam would reject the trial"
            )
