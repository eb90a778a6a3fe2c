"""When a gate that looks after every block would first have decided.

Verdicts are those of :func:`judge`.  It is asked only where it can decide: the e-processes of all checks, which the
checks themselves compute for the whole trial at once, say at which blocks that is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model_release.checks import latency, ratio, sample_ratio
from model_release.checks.trials import TrialView
from model_release.errors import InvalidInputError
from model_release.evidence import Evidence, Missing, OnlineEvidence, RegistryFacts, RunFacts, TrialFacts
from model_release.judge import judge, outcome
from model_release.policy import LatencyPolicy, OnlinePolicy, Policy, RatioPolicy, SampleRatioPolicy
from model_release.simulation.tally import Attempt, Ending
from model_release.simulation.traffic import Observed
from model_release.verdict import Decision, Verdict

_MANIFEST = "0" * 64
_NOT_SIMULATED = Missing("it is not simulated")


def evidence_of(online: OnlineEvidence, trial: TrialFacts) -> Evidence:
    """Return evidence about a simulated trial, in which everything else is as it should be."""
    return Evidence(
        run_id=trial.run_id,
        release_id=trial.release_id,
        registry=RegistryFacts(2, trial.current_run_id, _MANIFEST, _MANIFEST, None),
        run=RunFacts(_MANIFEST, trial.started_at),
        data_quality=_NOT_SIMULATED,
        evaluation=_NOT_SIMULATED,
        per_user=_NOT_SIMULATED,
        online=online,
    )


def judged(policy: Policy, seen: Observed, block: int) -> Decision:
    """Return what the gate says when ``block`` blocks are complete."""
    return judge(policy, evidence_of(seen.until(block), seen.trial), seen.time(block), "online")


def tried(policy: Policy, seen: Observed) -> Attempt:
    """Look at the end of every block until the gate decides, or the wait ends.

    Raises:
        InvalidInputError: the wait is shorter than one block.
    """
    blocks = len(seen.bounds) - 1
    if policy.online is None or blocks < 1:
        raise InvalidInputError("the wait for evidence is shorter than one block: nothing can be looked at")
    for block in _worth_a_look(policy.online, seen):
        decision = judged(policy, seen, block)
        if _decided(policy.online, decision, seen, block):
            return Attempt(Ending.of(decision.verdict), _minutes(seen, block))
    return Attempt(Ending.of(judged(policy, seen, blocks).verdict), policy.online.budgets.inconclusive_minutes)


def _decided(online: OnlinePolicy, decision: Decision, seen: Observed, block: int) -> bool:
    said = outcome(decision, started_at=seen.trial.started_at, now=seen.time(block), budgets=online.budgets)
    return said != "wait"


def _worth_a_look(online: OnlinePolicy, seen: Observed) -> Iterator[int]:
    """Yield the blocks after which the gate may decide, in order: an e-process tells, or users do."""
    blocks = len(seen.bounds) - 1
    view = TrialView(policy=online, trial=seen.trial, online=seen.until(blocks), now=seen.time(blocks))
    minutes = np.array([_minutes(seen, block) for block in range(1, blocks + 1)])
    passed = minutes >= online.minimum_minutes
    failed = np.zeros(blocks, dtype=bool)
    for check in online.checks:
        if check.blocks and isinstance(check, (RatioPolicy, LatencyPolicy)):
            safe, harm = _crossings(check, view)
            passed &= safe
            failed |= harm
    for block in range(1, blocks + 1):
        if passed[block - 1] or failed[block - 1] or _users_tell(online, seen, block):
            yield block


def _crossings(
    check: RatioPolicy | LatencyPolicy, view: TrialView
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return after which blocks a check says PASS (as far as answers go) or FAIL."""
    course = ratio.course(check, view) if isinstance(check, RatioPolicy) else latency.course(check, view)
    found = course.evidenced
    safe = (found.safe >= found.enough) & (course.answers >= check.minimum_requests)
    return safe, np.maximum.accumulate(found.harm) >= found.enough


def _users_tell(online: OnlinePolicy, seen: Observed, block: int) -> bool:
    """Return whether the shares of users are wrong after a block; the check itself says it, which looks at now alone."""
    view = TrialView(policy=online, trial=seen.trial, online=seen.users_at(block), now=seen.time(block))
    return any(
        one.verdict is Verdict.FAIL
        for check in online.checks
        if check.blocks and isinstance(check, SampleRatioPolicy)
        for one in sample_ratio.check(check, view)
    )


def _minutes(seen: Observed, block: int) -> float:
    return (seen.time(block) - seen.trial.started_at) / dt.timedelta(minutes=1)
