"""How verdicts, names and numbers of a decision are written, wherever they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeGuard

from model_release.verdict import CheckResult, Decision, Verdict

NOTHING = "–"
SIGNS = {Verdict.PASS: "✅", Verdict.INCONCLUSIVE: "⏳", Verdict.ERROR: "⚠️", Verdict.FAIL: "❌"}
_COMPARED = {"at_least": "≥", "at_most": "≤"}
_STRICTLY = {"at_least": ">", "at_most": "<"}
_DIGITS = 4  # an e-value with more of them is written as a power


def word(result: CheckResult) -> str:
    """Return the verdict of a result, and why it does not block if it does not."""
    return f"{result.verdict.upper()}{remark(result)}"


def remark(result: CheckResult) -> str:
    """Return why a result does not block, in brackets; empty if it does."""
    if result.dry_run:
        return " (dry run)"
    return " (warning)" if result.severity == "warning" else ""


def named(result: CheckResult) -> str:
    """Return the check and what it is about."""
    return f"{result.check} {result.subject}" if result.subject else result.check


def worst_first(results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return what blocks before warnings and those before dry runs, each the worst first."""
    return sorted(results, key=lambda result: (-result.blocking.badness, result.dry_run, -result.verdict.badness))


def found(result: CheckResult) -> str:
    """Return the value of a result, with its interval if it has one."""
    if result.value is None:
        return NOTHING
    value = f"{number(result.value, signed=is_difference(result))}{unit(result)}"
    if result.interval is None:
        return value
    low, high = result.interval
    ends = ("" if end is None else number(end, signed=is_difference(result)) for end in (low, high))
    return f"{value} [{', '.join(ends)}]"


def wanted(result: CheckResult) -> str:
    """Return the limit of a result: what its value, or the end of its interval, was held against."""
    if result.limit is None or result.direction is None:
        return NOTHING
    if result.interval is not None:
        return f"{_STRICTLY[result.direction]} {number(result.limit, signed=is_difference(result))}{unit(result)}"
    return f"{_COMPARED[result.direction]} {number(result.limit)}{unit(result)}"


def samples(result: CheckResult) -> str:
    """Return how many were observed, and how many are needed at least."""
    if result.samples is None:
        return NOTHING
    if result.minimum_samples is None:
        return str(result.samples)
    sign = "≥" if result.samples >= result.minimum_samples else "<"
    return f"{result.samples} {sign} {result.minimum_samples}"


def counted(decision: Decision) -> str:
    """Return what a decision's samples are: users before a trial, answers during it."""
    return "users" if decision.stage == "offline" else "answers"


def certainty(result: CheckResult) -> str:
    """Return the confidence of a statistical result, and what its e-values say of harm and of safety."""
    details = result.details
    parts = []
    confidence = details.get("confidence")
    if _is_number(confidence):
        parts.append(f"{100 * confidence:.5g} %")
    for key, name in (("log_e", "e"), ("log_e_harm", "e harm"), ("log_e_safe", "e safe"), ("log_e_needed", "e needed")):
        logarithm = details.get(key)
        if _is_number(logarithm):
            parts.append(f"{name} {e_value(logarithm)}")
    return ", ".join(parts) or NOTHING


def e_value(logarithm: float) -> str:
    """Return an e-value from its natural logarithm, which may be larger than any number."""
    tenth = logarithm / math.log(10.0)
    if abs(tenth) > _DIGITS:
        return f"10^{tenth:.0f}"
    value = f"{math.exp(logarithm):.3g}"
    return f"{float(value):.0f}" if "e+" in value else value


def trial_of(decision: Decision) -> str | None:
    """Return what a decision about a trial says of it; None: it is about none, or could not look."""
    return next((result.reason for result in decision.results if result.kind == "trial"), None)


def is_difference(result: CheckResult) -> bool:
    """Return whether a result compares two runs: its value is their difference, and not a share of one of them."""
    one_arm = result.kind == "ratio" and result.details.get("margin") is None
    return result.interval is not None and not one_arm


def against(decision: Decision) -> str:
    """Return the run compared with."""
    return "no_baseline" if decision.no_baseline else decision.against or NOTHING


def number(value: float, *, signed: bool = False) -> str:
    """Return a number in four digits; a difference with its sign."""
    return f"{value:+.4f}" if signed else f"{value:.4g}"


def unit(result: CheckResult) -> str:
    """Return the unit of a result after a space; empty if it has none."""
    return f" {result.unit}" if result.unit else ""


def or_nothing(value: object) -> str:
    """Return a dash for None."""
    return NOTHING if value is None else str(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
