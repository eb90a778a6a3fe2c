"""Is every table good enough to have trained on?"""

from __future__ import annotations

import math

from model_release.checks.results import result, unmeasured
from model_release.evidence import DataQuality, Evidence, Missing
from model_release.policy import DataQualityPolicy
from model_release.verdict import CheckResult, Verdict

_BEST = 100.0


def check(policy: DataQualityPolicy, evidence: Evidence) -> tuple[CheckResult, ...]:
    """Hold the score of every table, those found and those that the policy names, against the minimum."""
    quality = evidence.data_quality
    if isinstance(quality, Missing):
        return (unmeasured(policy, quality),)
    return tuple(_table(policy, quality, table) for table in sorted({*quality.scores, *policy.tables}))


def _why(quality: DataQuality, table: str) -> str:
    """Say what to look at: the check behind the score, and the key of the policy behind the limit."""
    worst = quality.worst_checks.get(table)
    pulled = f"; pulled down by {worst!r}, see data_quality_report.json" if worst else ""
    return f" (minimum_score){pulled}"


def _table(policy: DataQualityPolicy, quality: DataQuality, table: str) -> CheckResult:
    score = quality.scores.get(table)
    if score is None:
        return result(policy, Verdict.ERROR, f"no score for table {table!r}, which the policy names", subject=table)
    if not (math.isfinite(score) and 0.0 <= score <= _BEST):
        return result(policy, Verdict.ERROR, f"the score {score:g} is not between 0 and {_BEST:g}", subject=table)
    good = score >= policy.minimum_score
    return result(
        policy,
        Verdict.PASS if good else Verdict.FAIL,
        f"score {score:.1f}, at least {policy.minimum_score:g} is wanted{'' if good else _why(quality, table)}",
        subject=table,
        value=score,
        limit=policy.minimum_score,
        direction="at_least",
    )
