"""The policy of a decision, in the numbers that the decision holds, against the policy that is in force now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from model_release.artifact import Frozen
from model_release.policy import AnyCheck, CheckPolicy, Policy, Stage
from model_release.policy.base import RESERVED
from model_release.report import figures
from model_release.verdict import CheckResult, Decision

_LEFT_OUT = {
    "name",
    "kind",
    "count",
    "of",
    "query",
    "samples",
    "users",
    "histogram",
}  # shown elsewhere, and long queries


class UsedCheck(Frozen):
    """One check of a policy.

    Attributes:
        wanted: the limits that its values were held against, each once; empty: it asked for no number, or was not made.
        least: the fewest observations it decides on.
        confidence: of its intervals, 0 to 1.
        blocks: whether it counted.
        always: it is made whatever a policy says.
        used: the decision has results of it.
        now: what the policy in force says of it, key by key; None: it has no such check for this stage.
    """

    check: str
    kind: str
    wanted: tuple[str, ...]
    least: int | None
    confidence: float | None
    blocks: bool
    always: bool
    used: bool
    now: str | None


class PolicyUsed(Frozen):
    """Checks that the decision made first; ``same``: what is in force says exactly what was used."""

    name: str
    sha256: str
    now_name: str
    now_sha256: str
    same: bool
    checks: tuple[UsedCheck, ...]


def policy_used(decision: Decision, now: Policy) -> PolicyUsed:
    """Return what a decision was made by, beside the policy in force ``now``."""
    in_force = {check.name: check for check in _checks(now, decision.stage)}
    made: dict[str, list[CheckResult]] = {}
    for result in decision.results:
        made.setdefault(result.check, []).append(result)
    used = [_used(name, results, in_force.get(name)) for name, results in made.items()]
    more = [_unused(check) for name, check in in_force.items() if name not in made]
    return PolicyUsed(
        name=decision.policy_name,
        sha256=decision.policy_sha256,
        now_name=now.name,
        now_sha256=now.sha256,
        same=decision.policy_sha256 == now.sha256,
        checks=(*used, *more),
    )


def _checks(policy: Policy, stage: Stage) -> Sequence[AnyCheck]:
    if stage == "offline":
        return policy.checks
    return () if policy.online is None else policy.online.checks


def _used(name: str, results: Sequence[CheckResult], now: CheckPolicy | None) -> UsedCheck:
    first = results[0]
    return UsedCheck(
        check=name,
        kind=first.kind,
        wanted=tuple(dict.fromkeys(_wanted(results))),
        least=max((one.minimum_samples for one in results if one.minimum_samples is not None), default=None),
        confidence=next(_confidences(results), None),
        blocks=first.severity == "critical" and not first.dry_run,
        always=name in RESERVED,
        used=True,
        now=None if now is None else said(now),
    )


def _unused(check: CheckPolicy) -> UsedCheck:
    return UsedCheck(
        check=check.name,
        kind=check.kind,
        wanted=(),
        least=None,
        confidence=None,
        blocks=check.blocks,
        always=False,
        used=False,
        now=said(check),
    )


def _wanted(results: Iterable[CheckResult]) -> Iterable[str]:
    return (words for one in results if (words := figures.wanted(one)) != figures.NOTHING)


def _confidences(results: Iterable[CheckResult]) -> Iterator[float]:
    found = (one.details.get("confidence") for one in results)
    return (value for value in found if isinstance(value, float) and 0.0 < value < 1.0)


def said(check: CheckPolicy) -> str:
    """Return what a policy says of a check, as ``key: value`` in its own order; without queries and defaults."""
    given: Mapping[str, Any] = check.model_dump(mode="json", exclude_defaults=True, exclude=_LEFT_OUT)
    return "; ".join(f"{key}: {_text(value)}" for key, value in given.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
