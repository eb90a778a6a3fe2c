"""latency."""

from __future__ import annotations

from model_release.checks.trials import TrialView
from model_release.policy import LatencyPolicy
from model_release.verdict import CheckResult


def check(policy: LatencyPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Judge."""
    raise NotImplementedError
