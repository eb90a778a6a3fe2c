"""Is the data fresh, and what is known about it too?

Old data is a fact that was measured: FAIL.  An old measurement says nothing about today: ERROR, as is one from the
future, which no honest pair of clocks can produce.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

from model_release.checks.results import result, unmeasured
from model_release.evidence import DataQuality, Evidence, Missing
from model_release.policy import FreshnessPolicy
from model_release.verdict import CheckResult, Verdict

CLOCK_SKEW_SECONDS = 60.0  # between the machine that measured and the one that judges
_HOUR = 3600.0


def check(policy: FreshnessPolicy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    """Hold the ages of the data per table, of its last check and of the evaluation against their limits."""
    return tuple(_results(policy, evidence, now))


def _results(policy: FreshnessPolicy, evidence: Evidence, now: dt.datetime) -> Iterator[CheckResult]:
    quality, evaluation = evidence.data_quality, evidence.evaluation
    if policy.maximum_data_age_hours is not None:
        if isinstance(quality, Missing):
            yield unmeasured(policy, quality, subject="data")
        else:
            yield from _tables(policy, quality, policy.maximum_data_age_hours)
    if policy.maximum_check_age_hours is not None:
        if isinstance(quality, Missing):
            yield unmeasured(policy, quality, subject="data quality run")
        else:
            seconds = now.timestamp() - quality.measured_at
            yield _age(policy, "data quality run", seconds, policy.maximum_check_age_hours, Verdict.ERROR)
    if policy.maximum_evaluation_age_hours is not None:
        if isinstance(evaluation, Missing):
            yield unmeasured(policy, evaluation, subject="evaluation")
        else:
            seconds = (now - evaluation.evaluated_at).total_seconds()
            yield _age(policy, "evaluation", seconds, policy.maximum_evaluation_age_hours, Verdict.ERROR)


def _tables(policy: FreshnessPolicy, quality: DataQuality, limit_hours: float) -> Iterator[CheckResult]:
    """Judge every table that has an age, and those that should have one."""
    for table in sorted({*quality.data_age_seconds, *policy.tables}):
        seconds = quality.data_age_seconds.get(table)
        if seconds is None:
            yield result(
                policy, Verdict.ERROR, "no age, although the policy names the table", subject=f"data of {table}"
            )
        else:
            yield _age(policy, f"data of {table}", seconds, limit_hours, Verdict.FAIL, skew=0.0)


def _age(
    policy: FreshnessPolicy,
    subject: str,
    seconds: float,
    limit_hours: float,
    too_old: Verdict,
    *,
    skew: float = CLOCK_SKEW_SECONDS,
) -> CheckResult:
    if not math.isfinite(seconds):
        return result(policy, Verdict.ERROR, f"the age {seconds} is not a number of seconds", subject=subject)
    hours = seconds / _HOUR
    if seconds < -skew:
        reason = f"{-hours:.2f} hours in the future: the clocks disagree, or the time was written wrongly"
        return result(policy, Verdict.ERROR, reason, subject=subject)
    return result(
        policy,
        Verdict.PASS if hours <= limit_hours else too_old,
        f"{hours:.1f} hours old, at most {limit_hours:g} are allowed",
        subject=subject,
        value=hours,
        limit=limit_hours,
        direction="at_most",
        unit="h",
    )
