"""Does one number, from any query, lie between fixed limits?  No statistics stand behind it."""

from __future__ import annotations

from typing import Literal

from model_release.checks import numbers
from model_release.checks.results import result, unmeasured
from model_release.checks.trials import TrialView
from model_release.evidence import Missing, NumberQuery
from model_release.policy import QueryPolicy
from model_release.verdict import CheckResult, Verdict


def check(policy: QueryPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Hold the number against the limits, if there are enough samples behind it."""
    asked = [NumberQuery(view.trial.filled(query)) for query in (policy.query, policy.samples) if query is not None]
    found: list[float] = []
    for query in asked:
        number = numbers.single(view, query)
        if isinstance(number, Missing):
            return (unmeasured(policy, number),)
        found.append(number)
    if len(found) > 1 and not found[1] >= 0.0:
        return (unmeasured(policy, Missing(f"{asked[1].query} counts {found[1]:g} samples")),)
    return (_judged(policy, asked, *found),)


def _judged(policy: QueryPolicy, asked: list[NumberQuery], value: float, samples: float | None = None) -> CheckResult:
    broken = _broken(policy, value)
    few = policy.minimum_samples is not None and not (samples is not None and samples >= policy.minimum_samples)
    limit, direction = _nearest(policy, value)
    unit = f" {policy.unit}" if policy.unit else ""
    if few:
        verdict = Verdict.INCONCLUSIVE
        reason = f"{samples:g} samples, at least {policy.minimum_samples} are needed"
    elif broken is not None:
        verdict, reason = Verdict.FAIL, f"{value:g}{unit}, {broken}{unit} is allowed"
    else:
        verdict, reason = Verdict.PASS, f"{value:g}{unit}"
    return result(
        policy,
        verdict,
        reason,
        value=value,
        limit=limit,
        direction=direction,
        samples=None if samples is None else int(samples),
        minimum_samples=policy.minimum_samples,
        unit=policy.unit,
        details={
            "queries": [query.query for query in asked],
            "at_least": policy.at_least,
            "at_most": policy.at_most,
        },
    )


def _broken(policy: QueryPolicy, value: float) -> str | None:
    """Return the limit that does not hold; None: both hold."""
    if policy.at_least is not None and not value >= policy.at_least:
        return f"at least {policy.at_least:g}"
    if policy.at_most is not None and not value <= policy.at_most:
        return f"at most {policy.at_most:g}"
    return None


def _nearest(policy: QueryPolicy, value: float) -> tuple[float | None, Literal["at_least", "at_most"]]:
    """Return the limit that the value is nearer to."""
    low, high = policy.at_least, policy.at_most
    if high is None or (low is not None and abs(value - low) < abs(value - high)):
        return low, "at_least"
    return high, "at_most"
