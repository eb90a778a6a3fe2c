"""Checks of what goes on around a release; they may stand in the offline and in the online list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from model_release.policy.base import CheckPolicy, Hours

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
    return matcher


Matcher = Annotated[Mapping[str, str], AfterValidator(_check_matcher)]


class AlertsPolicy(CheckPolicy):
    """No alert that one of ``matchers`` matches is firing in Alertmanager.

    A matcher names labels and their values, or, after ``=~``, a regular expression that the whole value must match;
    all of one matcher must hold.
    """

    kind: Literal["alerts"]
    matchers: Annotated[tuple[Matcher, ...], Field(min_length=1)]
    silenced: Literal["count", "ignore"] = "count"
    watchdog: str | None = None


class ReconciliationPolicy(CheckPolicy):
    """The newest reconciliation found what was promised, and is not too old."""

    kind: Literal["reconciliation"]
    maximum_age_hours: Hours
