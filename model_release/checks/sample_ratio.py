"""Does the candidate get the share of users that the trial asks for?

Each replica counts different users of each arm since the trial began.  Every replica gives an e-value against the
share that the trial asks for, and their mean is one too, although a user may have been to several replicas.  The
counts are estimates; what three standard errors of them explain is taken off the difference first.  PASS says only
that no mismatch shows.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np

from model_release import blocks, sequential
from model_release.blocks import Process
from model_release.checks import numbers
from model_release.checks.results import result, unmeasured
from model_release.checks.trials import TrialView
from model_release.evidence import ARMS, Missing, NumberQuery
from model_release.policy import SampleRatioPolicy
from model_release.verdict import CheckResult, Verdict

STANDARD_ERROR = 0.001  # of an estimated count, relative; see docs/reference/metrics-api.md
_ERRORS = 3.0


@dataclass(frozen=True)
class _Users:
    """Different users per replica, in the order of ``processes``; each array is (replicas,)."""

    processes: tuple[Process, ...]
    candidate: blocks.Floats
    current: blocks.Floats

    @property
    def total(self) -> float:
        """Of both arms, over all replicas; a user counts once per replica."""
        return float(self.candidate.sum() + self.current.sum())


def check(policy: SampleRatioPolicy, view: TrialView) -> tuple[CheckResult, ...]:
    """Compare the share of the candidate's users with the rollout."""
    share = view.trial.rollout
    if not 0.0 < share < 1.0:
        return (unmeasured(policy, Missing(f"rollout {share:g}: one arm gets nobody, there is no share to compare")),)
    users = _counted(policy, view)
    if isinstance(users, Missing):
        return (unmeasured(policy, users),)
    return (_judged(policy, view, users, share),)


def _counted(policy: SampleRatioPolicy, view: TrialView) -> _Users | Missing:
    per_arm: list[dict[Process, float]] = []
    for query in _queries(policy, view):
        points = numbers.answered(view, query)
        if isinstance(points, Missing):
            return points
        found = {blocks.process_of(point.labels): point.value for point in points}
        if len(found) != len(points):
            return Missing(f"{query.query} has several series of one replica")
        odd = [value for value in found.values() if not 0.0 <= value <= blocks.LARGEST]
        if odd:
            return Missing(f"{query.query} is {odd[0]:g}: that is no number of users")
        per_arm.append(found)
    scrapes = view.online.scrapes
    if isinstance(scrapes, Missing):
        return scrapes
    alive = {blocks.process_of(scrape.labels) for scrape in scrapes if scrape.up == 1.0}
    for arm, found in zip(ARMS, per_arm, strict=True):
        silent = sorted(({*per_arm[0], *per_arm[1]} | alive) - set(found))
        if silent:
            return Missing(f"{silent[0][-1] or silent[0]} counts no users of the {arm}")
    order = tuple(sorted(per_arm[0]))
    candidate, current = (np.array([found[process] for process in order]) for found in per_arm)
    return _Users(order, candidate, current)


def _judged(policy: SampleRatioPolicy, view: TrialView, users: _Users, share: float) -> CheckResult:
    total = users.total
    log_e = float(sequential.log_mean(_log_e(users, share)))
    enough = -math.log(policy.level)
    value = float(users.candidate.sum()) / total if total > 0.0 else None
    told = "no users" if value is None else f"{100 * value:.3g} % of {total:.0f} users got the candidate"
    if log_e >= enough:
        verdict = Verdict.FAIL
        reason = f"{told}, {100 * share:.3g} % should: one arm loses users, so that nothing can be compared"
    elif not total >= policy.minimum_users:
        verdict = Verdict.INCONCLUSIVE
        reason = f"{total:.0f} users, at least {policy.minimum_users} are needed: {_more(policy, view, total)}"
    else:
        verdict, reason = Verdict.PASS, f"{told}, {100 * share:.3g} % should: no mismatch shows"
        if view.too_early is not None:
            verdict, reason = Verdict.INCONCLUSIVE, f"{reason}; {view.too_early}"
    return result(
        policy,
        verdict,
        reason,
        value=value,
        samples=int(total),
        minimum_samples=policy.minimum_users,
        details={
            "queries": [query.query for query in _queries(policy, view)],
            "expected_share": share,
            "level": policy.level,
            "log_e": log_e,
            "log_e_needed": enough,
            "relative_standard_error": STANDARD_ERROR,
            "replicas": {
                process[-1] or str(process): [float(one), float(other)]
                for process, one, other in zip(users.processes, users.candidate, users.current, strict=True)
            },
        },
    )


def _log_e(users: _Users, share: float) -> blocks.Floats:
    """Return the log e-value of each replica, after the errors of the estimates were taken off the difference."""
    everyone = users.candidate + users.current
    off = users.candidate - share * everyone
    error = STANDARD_ERROR * np.hypot((1.0 - share) * users.candidate, share * users.current)
    shrunk = np.copysign(np.maximum(np.abs(off) - _ERRORS * error, 0.0), off)
    return sequential.log_e_sample_ratio(share * everyone + shrunk, everyone, share)


def _more(policy: SampleRatioPolicy, view: TrialView, total: float) -> str:
    lacking = policy.minimum_users - total
    if not (total > 0.0 and view.minutes > 0.0):
        return f"{lacking:.0f} more"
    minutes = lacking / (total / view.minutes)
    if minutes > 1e6:  # noqa: PLR2004  (two years)
        return f"{lacking:.0f} more, not at the present rate"
    when = view.now + dt.timedelta(minutes=minutes)
    return f"{lacking:.0f} more, which may be at {when:%Y-%m-%d %H:%M:%S} UTC"


def _queries(policy: SampleRatioPolicy, view: TrialView) -> list[NumberQuery]:
    return [NumberQuery(view.trial.filled(policy.users, arm)) for arm in ARMS]
