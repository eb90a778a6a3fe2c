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
    query = NumberQuery(view.trial.filled(policy.query))
    samples = _samples(policy, view)
    if isinstance(samples, Missing):
        return (unmeasured(policy, samples),)
    few = policy.minimum_samples is not None and not (samples is not None and samples >= policy.minimum_samples)
    if few and numbers.is_of_nothing(view, query):  # a share of no samples
        return (_judged(policy, view, None, samples),)
    value = numbers.single(view, query)
    if isinstance(value, Missing):
        return (unmeasured(policy, value),)
    return (_judged(policy, view, value, samples),)


def _samples(policy: QueryPolicy, view: TrialView) -> float | Missing | None:
    """Return what the number rests on; None: the policy does not ask."""
    if policy.samples is None:
        return None
    query = NumberQuery(view.trial.filled(policy.samples))
    found = numbers.single(view, query)
    if isinstance(found, float) and not found >= 0.0:
        return Missing(f"{query.query} counts {found:g} samples")
    return found


def _judged(policy: QueryPolicy, view: TrialView, value: float | None, samples: float | None) -> CheckResult:
    limit, direction = _nearest(policy, value)
    unit = f" {policy.unit}" if policy.unit else ""
    if policy.minimum_samples is not None and not (samples is not None and samples >= policy.minimum_samples):
        verdict = Verdict.INCONCLUSIVE
        reason = f"{samples:g} samples, at least {policy.minimum_samples} are needed"
    elif value is None:
        raise AssertionError("a number that is not there, of enough samples")
    elif (broken := _broken(policy, value)) is not None:
        verdict, reason = Verdict.FAIL, f"{value:g}{unit}, {broken}{unit} is allowed"
    elif view.too_early is not None:
        verdict, reason = Verdict.INCONCLUSIVE, f"{value:g}{unit}; {view.too_early}"
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
            "queries": [view.trial.filled(query) for query in (policy.query, policy.samples) if query is not None],
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


def _nearest(policy: QueryPolicy, value: float | None) -> tuple[float | None, Literal["at_least", "at_most"]]:
    """Return the limit that the value is nearer to; without a value the lower one, if there is one."""
    low, high = policy.at_least, policy.at_most
    if high is None or (low is not None and (value is None or abs(value - low) < abs(value - high))):
        return low, "at_least"
    return high, "at_most"
