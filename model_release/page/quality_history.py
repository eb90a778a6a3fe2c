"""The data's quality over the last releases: each table's score as the gate found it, and the score that was wanted."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.verdict import CheckResult, Decision

_KIND = "data_quality"


class QualityPoint(Frozen):
    """A score from 0 to 100 of one decision, and the minimum it was held against; left out: could not be measured."""

    at: AwareDatetime
    release_id: str | None
    score: float | None
    wanted: float | None
    verdict: str


class QualityLine(Frozen):
    """One table, oldest first."""

    table: str
    points: tuple[QualityPoint, ...]


class QualityHistory(Frozen):
    """Every table that a gate looked at, by name."""

    tables: tuple[QualityLine, ...]


def quality_history(decisions: Iterable[Decision]) -> QualityHistory:
    """Return what ``decisions`` found of the data; of several checks of a table, the strictest one that blocks."""
    lines: dict[str, list[QualityPoint]] = {}
    for decision in sorted(decisions, key=lambda one: one.decided_at):
        for table, result in _by_table(decision).items():
            point = QualityPoint(
                at=decision.decided_at,
                release_id=decision.release_id,
                score=result.value,
                wanted=result.limit,
                verdict=result.verdict,
            )
            lines.setdefault(table, []).append(point)
    return QualityHistory(tables=tuple(QualityLine(table=name, points=tuple(lines[name])) for name in sorted(lines)))


def _by_table(decision: Decision) -> dict[str, CheckResult]:
    found: dict[str, CheckResult] = {}
    for result in decision.results:
        # without a subject it could not look at any table
        if result.kind == _KIND and result.subject:
            known = found.get(result.subject)
            if known is None or _strictness(result) > _strictness(known):
                found[result.subject] = result
    return found


def _strictness(result: CheckResult) -> tuple[bool, float]:
    return (result.severity == "critical" and not result.dry_run, result.limit or 0.0)
