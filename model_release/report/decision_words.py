"""A kept decision in words: every number, what was asked for it, and what would have to change for PASS."""

from __future__ import annotations

from collections.abc import Iterator

from model_release.report.figures import (
    NOTHING,
    against,
    certainty,
    counted,
    found,
    named,
    number,
    samples,
    unit,
    wanted,
    word,
    worst_first,
)
from model_release.report.neutral import one_line
from model_release.verdict import CheckResult, Decision, Verdict

_SHOWN = frozenset({"queries", "window", "confidence", "log_e_harm", "log_e_safe", "log_e_needed"})


def decision_words(decision: Decision) -> Iterator[str]:
    """Yield the lines that explain ``decision``."""
    yield f"{decision.verdict.upper()} for run {one_line(decision.run_id)} against {one_line(against(decision))}"
    yield (
        f"{decision.stage}, decided {decision.decided_at.isoformat(timespec='seconds')} by policy {decision.policy_name} "
        f"{decision.policy_sha256[:12]}, code {decision.code_version}, generation {decision.generation}"
    )
    if decision.measured_at is not None and decision.verdict is Verdict.ERROR:
        yield f"everything could last be measured at {decision.measured_at.isoformat(timespec='seconds')}"
    for result in worst_first(decision.results):
        yield ""
        yield from _result(result, counted(decision))
    if decision.evidence:
        yield ""
        yield "read:"
        for name, digest in sorted(decision.evidence.items()):
            yield f"  {one_line(name)} {digest}"


def change_for_pass(result: CheckResult) -> str | None:
    """Return what would have to be different for PASS; None: it passed."""
    match result.verdict:
        case Verdict.PASS:
            return None
        case Verdict.ERROR:
            again = "no waiting mends it" if result.settled else "it is measured again at the next look"
            return f"it must be measurable; {again}"
        case Verdict.INCONCLUSIVE:
            return _more(result)
        case Verdict.FAIL:
            return _better(result)


def _result(result: CheckResult, samples_are: str) -> Iterator[str]:
    yield f"{word(result)} {one_line(named(result))} ({result.kind})"
    yield f"  because: {one_line(result.reason)}"
    if result.value is not None:
        yield f"  found {found(result)}, wanted {wanted(result)}"
    if result.samples is not None:
        yield f"  {samples_are}: {samples(result)}"
    if certainty(result) != NOTHING:
        yield f"  confidence: {certainty(result)}"
    for query in _texts(result.details.get("queries")):
        yield f"  asked: {one_line(query)}"
    window = _texts(result.details.get("window"))
    if window:
        yield f"  over: {one_line(' to '.join(window))}"
    rest = {name: value for name, value in result.details.items() if name not in _SHOWN and value is not None}
    if rest:
        yield f"  numbers: {one_line(', '.join(f'{name} {_value(value)}' for name, value in sorted(rest.items())))}"
    change = change_for_pass(result)
    if change is not None:
        yield f"  for PASS: {change}"


def _more(result: CheckResult) -> str:
    """Return how many more observations would do, as far as the result knows."""
    details = result.details
    if result.samples is not None and result.minimum_samples is not None and result.samples < result.minimum_samples:
        return f"{result.minimum_samples - result.samples} more observations, {result.minimum_samples} in all, and a good value"
    more, needed = details.get("more_answers_needed"), details.get("users_needed")
    if isinstance(more, int) and more > 0:
        return f"about {more} more answers like those so far"
    if more == 0:
        return "nothing but time, and answers like those so far"
    if isinstance(needed, int) and result.samples is not None and needed > result.samples:
        return f"about {needed} users instead of {result.samples}, if it is as good as the current run; or {_better(result)}"
    return _better(result)


def _better(result: CheckResult) -> str:
    """Return by how much the value, or the end of its interval, misses the limit."""
    if result.value is None or result.limit is None or result.direction is None:
        return "the reason must no longer hold"
    at_least = result.direction == "at_least"
    end = result.value
    what = "the value"
    if result.interval is not None:
        bound = result.interval[0 if at_least else 1]
        what = f"the {'lower' if at_least else 'upper'} end of the interval"
        end = result.value if bound is None else bound
    missing = result.limit - end if at_least else end - result.limit
    if not missing >= 0.0:
        return "the reason must no longer hold"
    more = "higher" if at_least else "lower"
    return f"{what} must be {more} by {number(missing)}{unit(result)}, to lie {wanted(result)}"


def _texts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, (list, tuple)) else []


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
