"""Is a metric of the run itself between fixed limits?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from model_release.checks.results import result, unmeasured
from model_release.evidence import Evidence, Missing
from model_release.policy import AbsolutePolicy
from model_release.verdict import CheckResult, Verdict


def check(policy: AbsolutePolicy, evidence: Evidence) -> tuple[CheckResult, ...]:
    """Hold one metric of the candidate against each limit that the policy gives."""
    evaluation = evidence.evaluation
    if isinstance(evaluation, Missing):
        return (unmeasured(policy, evaluation, subject=policy.metric),)
    value = evaluation.metric(policy.metric)
    if value is None or not math.isfinite(value):
        names = [*evaluation.metrics.candidate, *(f"catalogue.{name}" for name in evaluation.catalogue.candidate)]
        reason = f"the evaluation has no {policy.metric!r}; it has {', '.join(sorted(names)) or 'no metrics'}"
        return (result(policy, Verdict.ERROR, reason, subject=policy.metric, settled=True),)
    return tuple(_limits(policy, value, evaluation.users))


def _limits(policy: AbsolutePolicy, value: float, users: int) -> Iterator[CheckResult]:
    if policy.at_least is not None:
        yield _limit(policy, value, users, policy.at_least, "at_least", holds=value >= policy.at_least)
    if policy.at_most is not None:
        yield _limit(policy, value, users, policy.at_most, "at_most", holds=value <= policy.at_most)


def _limit(
    policy: AbsolutePolicy,
    value: float,
    users: int,
    limit: float,
    direction: Literal["at_least", "at_most"],
    *,
    holds: bool,
) -> CheckResult:
    reason = f"{value:.4g}, {direction.replace('_', ' ')} {limit:.4g} is wanted"
    verdict = Verdict.PASS if holds else Verdict.FAIL
    if users < policy.minimum_users:
        verdict = Verdict.INCONCLUSIVE
        reason = f"{users} users, at least {policy.minimum_users} are needed: {policy.minimum_users - users} more"
    return result(
        policy,
        verdict,
        reason,
        subject=policy.metric,
        value=value,
        limit=limit,
        direction=direction,
        samples=users,
        minimum_samples=policy.minimum_users,
        settled=True,
    )
