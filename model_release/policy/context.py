"""Checks of what goes on around a release; they may stand in the offline and in the online list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from model_release.policy.base import CheckPolicy, Confidence, Hours, Strict, Users, twice

_LABEL = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _check_matcher(matcher: Mapping[str, str]) -> Mapping[str, str]:
    if not matcher:
        raise ValueError("an empty matcher matches every alert; name a label, e.g. {severity: critical}")
    for name, value in matcher.items():
        if not _LABEL.match(name):
            raise ValueError(f"{name!r} is not a label name")
        if value.startswith("=~"):
            try:
                re.compile(value[2:])
            except re.error as error:
                raise ValueError(f"{name}: {value[2:]!r} is not a regular expression: {error}") from error
    if all(label_matches(value, "") for value in matcher.values()):
        raise ValueError("a matcher that also matches alerts without its labels matches every alert: name a value")
    return matcher


def label_matches(wanted: str, value: str) -> bool:
    """Whether a label's ``value`` is what a matcher wants: equal, or, after ``=~``, the whole of it matches."""
    return bool(re.fullmatch(wanted[2:], value)) if wanted.startswith("=~") else wanted == value


Matcher = Annotated[Mapping[str, str], AfterValidator(_check_matcher)]


class AlertsPolicy(CheckPolicy):
    """No alert that one of ``matchers`` matches is firing in Alertmanager.

    A matcher names labels and their values, or, after ``=~``, a regular expression that the whole value must match;
    all of one matcher must hold.
    """

    kind: Literal["alerts"]
    matchers: Annotated[tuple[Matcher, ...], Field(min_length=1)]
    silenced: Literal["count", "ignore"] = "count"
    watchdog: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _can_pass(self) -> AlertsPolicy:
        again = twice(tuple(sorted(matcher.items())) for matcher in self.matchers)
        if again is not None:
            raise ValueError(f"matchers holds {dict(again)} twice")
        for matcher in self.matchers:
            only_the_name = set(matcher) == {"alertname"}
            if self.watchdog is not None and only_the_name and label_matches(matcher["alertname"], self.watchdog):
                raise ValueError(
                    f"matchers {dict(matcher)} and watchdog {self.watchdog!r} contradict each other: "
                    "the watchdog must be firing, and no alert that matches may be"
                )
        return self


class Tolerance(Strict):
    """How far what happened on a day may lie from what was promised, and the parts of a day from each other.

    ``maximum_relative_drop``: by what part of the promise a metric may be lower.  ``maximum_lost_share``: of the answers
    that were counted, those that the exposure log does not have.
    """

    maximum_relative_drop: Annotated[float, Field(gt=0, lt=1)] = 0.2
    confidence: Confidence = 0.95
    minimum_users: Users = 100
    maximum_lost_share: Annotated[float, Field(ge=0, lt=1)] = 0.02


class ReconciliationPolicy(Tolerance, CheckPolicy):
    """The newest reconciliation found what was promised, and is not too old."""

    kind: Literal["reconciliation"]
    maximum_age_hours: Hours
