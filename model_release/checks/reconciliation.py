"""Did the last days keep what was promised, by the newest reconciliation?

Its age and what it found are two results: an old file that found a difference stays a FAIL.
"""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from model_release.checks.freshness import CLOCK_SKEW_SECONDS
from model_release.checks.results import result, unmeasured
from model_release.evidence import Evidence, Missing, Reconciliation
from model_release.policy import ReconciliationPolicy
from model_release.verdict import CheckResult, Verdict

_NAMED = 3  # problems in a reason; all stand in the details
_HOUR = 3600.0


def check(policy: ReconciliationPolicy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    """Judge the age of the newest reconciliation, and what it found."""
    found = evidence.reconciliation
    if isinstance(found, Missing):
        return (unmeasured(policy, found),)
    return (_age(policy, found, now), _status(policy, found))


def _age(policy: ReconciliationPolicy, found: Reconciliation, now: dt.datetime) -> CheckResult:
    """Count from its writing or from the end of its day, whichever is earlier: an old day written anew is old."""
    subject = "age"
    start, end = found.day
    newest = max(found.written_at, start)
    ahead = (newest - now).total_seconds()
    if ahead > CLOCK_SKEW_SECONDS:
        reason = f"{ahead / _HOUR:.2f} hours in the future: the clocks disagree, or a date was written wrongly"
        return result(policy, Verdict.ERROR, reason, subject=subject)
    if start > found.written_at:
        reason = f"it is about {found.date}, which had not begun when it was written"
        return result(policy, Verdict.ERROR, reason, subject=subject)
    hours = (now - min(found.written_at, end)).total_seconds() / _HOUR
    limit = policy.maximum_age_hours
    return result(
        policy,
        Verdict.PASS if hours <= limit else Verdict.ERROR,
        f"{hours:.1f} hours old, at most {limit:g} are allowed",
        subject=subject,
        value=hours,
        limit=limit,
        direction="at_most",
        unit="h",
    )


def _status(policy: ReconciliationPolicy, found: Reconciliation) -> CheckResult:
    match found.status:
        case "agrees":
            verdict, what = Verdict.PASS, "what was promised and what happened agree"
        case "differs":
            verdict, what = Verdict.FAIL, f"what was promised and what happened differ: {_listed(found.problems)}"
        case "missing":
            verdict, what = Verdict.ERROR, f"it could not be told what happened: {_listed(found.problems)}"
        case _:
            assert_never(found.status)
    details = {"problems": list(found.problems)}
    return result(policy, verdict, f"{found.date}: {what}", subject="result", details=details)


def _listed(problems: tuple[str, ...]) -> str:
    more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    return "; ".join(problems[:_NAMED]) + more
