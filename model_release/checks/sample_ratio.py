"""sample_ratio."""

from __future__ import annotations

from model_release.checks.trials import TrialView
from model_release.policy import SampleRatioPolicy
from model_release.verdict import CheckResult


def check(policy: SampleRatioPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Judge."""
    raise NotImplementedError
