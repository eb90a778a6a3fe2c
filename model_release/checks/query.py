"""query."""

from __future__ import annotations

from model_release.checks.trials import TrialView
from model_release.policy import QueryPolicy
from model_release.verdict import CheckResult


def check(policy: QueryPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Judge."""
    raise NotImplementedError
