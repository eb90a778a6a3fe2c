"""Each part of users and items: how both runs did there, and what the gate made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from model_release.artifact import Frozen
from model_release.page.one_release import Place, placed
from model_release.policy import ALL
from model_release.verdict import CheckResult, Decision

_COMPARISONS = frozenset({"non_inferiority", "superiority"})
_SUBJECT = re.compile(r"(?P<metric>\S+)(?: \((?P<label>.+)\))?")


class SliceMeans(Frozen):
    """What an evaluation tells people of a slice; the gate computes the means itself, from the values per user."""

    users: Annotated[int, Field(ge=0)]
    candidate: Mapping[str, float | None]
    current: Mapping[str, float | None] | None = None


class SliceRow(Frozen):
    """One metric in one slice; what the gate did not look at has no interval and no verdict.

    Attributes:
        label: ``all`` or the slice's name, as the evaluation has it.
        users: who were compared; left out where nobody counted them.
        low, high: the interval of candidate - current.
        limit: what the interval was held against: minus the margin, or the gain.
        too_small: fewer users than the check asks for, so that it could not tell.
    """

    label: str
    metric: str
    users: int | None
    minimum_users: int | None
    too_small: bool
    current: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    limit: float | None
    check: str | None
    verdict: str | None
    blocks: bool
    reason: str
    place: Place | None


class Slices(Frozen):
    """Every metric in every slice; those that the gate looked at first.

    ``metrics``: the one that was looked at in most slices first.
    """

    metrics: tuple[str, ...]
    rows: tuple[SliceRow, ...]


def slices(decision: Decision, means: Mapping[str, SliceMeans]) -> Slices:
    """Return what a decision found in each slice, beside the means of an evaluation, which may be none."""
    judged = [(result, *names) for result in decision.results if (names := _names(result)) is not None]
    seen = {(metric, label) for _, metric, label in judged}
    rows = [_judged(result, metric, label, means.get(label)) for result, metric, label in judged]
    for label, found in means.items():
        rows += [_unjudged(name, label, found) for name in found.candidate if (name, label) not in seen]
    looked = {
        metric: sum(one == metric for _, one, _ in judged) for metric in dict.fromkeys(row.metric for row in rows)
    }
    metrics = tuple(sorted(looked, key=lambda metric: -looked[metric]))
    order = {label: place for place, label in enumerate([ALL, *means])}
    rows.sort(key=lambda row: (order.get(row.label, len(order)), row.verdict is None))
    return Slices(metrics=metrics, rows=tuple(rows))


def _names(result: CheckResult) -> tuple[str, str] | None:
    """Return metric and slice that a comparison is about; None: it is none."""
    if result.kind not in _COMPARISONS:
        return None
    match = _SUBJECT.fullmatch(result.subject)
    return None if match is None else (match["metric"], match["label"] or ALL)


def _judged(result: CheckResult, metric: str, label: str, means: SliceMeans | None) -> SliceRow:
    low, high = result.interval or (None, None)
    few = result.samples is not None and result.minimum_samples is not None and result.samples < result.minimum_samples
    return SliceRow(
        label=label,
        metric=metric,
        users=result.samples if result.samples is not None else None if means is None else means.users,
        minimum_users=result.minimum_samples,
        too_small=few,
        current=None if means is None else (means.current or {}).get(metric),
        candidate=None if means is None else means.candidate.get(metric),
        difference=result.value,
        low=low,
        high=high,
        limit=result.limit,
        check=result.check,
        verdict=result.verdict,
        blocks=result.severity == "critical" and not result.dry_run,
        reason=result.reason,
        place=placed(result),
    )


def _unjudged(metric: str, label: str, means: SliceMeans) -> SliceRow:
    candidate, current = means.candidate.get(metric), (means.current or {}).get(metric)
    return SliceRow(
        label=label,
        metric=metric,
        users=means.users,
        minimum_users=None,
        too_small=False,
        current=current,
        candidate=candidate,
        difference=None if candidate is None or current is None else candidate - current,
        low=None,
        high=None,
        limit=None,
        check=None,
        verdict=None,
        blocks=False,
        reason="",
        place=None,
    )
