"""How much evidence each check needs of a run that is equal to the current one, where counts are as on average."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from model_release.judge import judge
from model_release.policy import Policy
from model_release.simulation.online import START, cuts_of, evidence_of, example_trial, simulated_part
from model_release.simulation.traffic import Expected, Observed, Traffic, Worse, observe
from model_release.verdict import CheckResult, Decision, Verdict


@dataclass(frozen=True)
class Need:
    """When one check first says PASS; ``samples`` None: not before the wait ends."""

    check: str
    samples: int | None
    minutes: float

    @property
    def words(self) -> str:
        """For people."""
        if self.samples is None:
            return f"does not pass within {self.minutes:g} minutes at these rates: it would be rejected"
        return f"passes after about {self.samples} observations, {self.minutes:.1f} minutes"


def typical_needs(policy: Policy, traffic: Traffic) -> Iterator[Need]:
    """Yield what each check that can be simulated needs.

    Raises:
        InvalidInputError: none can be, or none blocks.
    """
    online = simulated_part(policy, traffic.mode)
    part = policy.model_copy(update={"online": online})
    trial = example_trial(traffic.mode, traffic.rollout)
    seen = observe(online, trial, cuts_of(online), traffic, Worse(), Expected())
    decisions: dict[int, Decision] = {}
    for check in online.checks:
        yield _need(part, seen, check.name, decisions)


def _need(policy: Policy, seen: Observed, name: str, decisions: dict[int, Decision]) -> Need:
    """Search the first block after which a check passes; on average evidence only grows."""
    low, high = 0, len(seen.bounds) - 1
    if high < 1 or _result(policy, seen, high, name, decisions).verdict is not Verdict.PASS:
        return Need(name, None, _minutes(seen, high) if high > 0 else 0.0)
    while high - low > 1:
        middle = (low + high) // 2
        if _result(policy, seen, middle, name, decisions).verdict is Verdict.PASS:
            high = middle
        else:
            low = middle
    return Need(name, _result(policy, seen, high, name, decisions).samples, _minutes(seen, high))


def _result(policy: Policy, seen: Observed, block: int, name: str, decisions: dict[int, Decision]) -> CheckResult:
    if block not in decisions:
        decisions[block] = judge(policy, evidence_of(seen.until(block)), seen.time(block), "online")
    results = [result for result in decisions[block].results if result.check == name]
    return max(results, key=lambda result: result.verdict.badness)


def _minutes(seen: Observed, block: int) -> float:
    return (seen.time(block) - START) / dt.timedelta(minutes=1)
