"""Results that several kinds of check give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from model_release.evidence import Missing
from model_release.policy import CheckPolicy
from model_release.verdict import CheckResult, Verdict


def result(
    policy: CheckPolicy,
    verdict: Verdict,
    reason: str,
    *,
    subject: str = "",
    value: float | None = None,
    limit: float | None = None,
    direction: Literal["at_least", "at_most"] | None = None,
    interval: tuple[float | None, float | None] | None = None,
    samples: int | None = None,
    minimum_samples: int | None = None,
    unit: str = "",
    settled: bool = False,
    details: Mapping[str, Any] | None = None,
) -> CheckResult:
    """Return a result under the name, kind, dry run and severity of its policy."""
    return CheckResult(
        check=policy.name,
        kind=policy.kind,
        dry_run=policy.dry_run,
        severity=policy.severity,
        verdict=verdict,
        reason=reason,
        subject=subject,
        value=value,
        limit=limit,
        direction=direction,
        interval=interval,
        samples=samples,
        minimum_samples=minimum_samples,
        unit=unit,
        settled=settled,
        details=details or {},
    )


def unmeasured(policy: CheckPolicy, missing: Missing, *, subject: str = "") -> CheckResult:
    """Return ERROR: a part of the evidence that the check needs is missing."""
    return result(policy, Verdict.ERROR, missing.reason, subject=subject, settled=missing.settled)
