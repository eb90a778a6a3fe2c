"""reconciliation."""

from __future__ import annotations

import datetime as dt

from model_release.evidence import Evidence
from model_release.policy import ReconciliationPolicy
from model_release.verdict import CheckResult


def check(policy: ReconciliationPolicy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    """Judge."""
    raise NotImplementedError
