"""Trials, repeated on simulated traffic and looked at as the sensor looks: at the end of every block."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

import numpy as np

from model_release.blocks import Floats, bounds
from model_release.errors import InvalidInputError
from model_release.evidence import (
    Arm,
    Evidence,
    History,
    Missing,
    OnlineEvidence,
    RangeQuery,
    RegistryFacts,
    RunFacts,
    TrialFacts,
    bucket_selector,
)
from model_release.judge import judge, outcome
from model_release.policy import LatencyPolicy, OnlinePolicy, Policy, RatioPolicy, SampleRatioPolicy
from model_release.policy.online import TrialMode
from model_release.simulation.tally import Attempt, Ending, Tally
from model_release.simulation.traffic import Chance, Observed, Traffic, Worse, observe

CANDIDATE, CURRENT, RELEASE = "simulated-candidate", "simulated-current", "simulated"
MODES: tuple[TrialMode, ...] = get_args(TrialMode)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_MANIFEST = "0" * 64
_GUESSED_BAD, _GUESSED_GOOD, _GUESSED_MEDIAN = 0.01, 0.1, 0.02
_NOT_SIMULATED = Missing("it is not simulated")
_SIMULATED = (RatioPolicy, LatencyPolicy, SampleRatioPolicy)


def traffic_for(policy: Policy, given: Traffic, past: OnlineEvidence | None) -> Traffic:
    """Return ``given`` with what it leaves open: measured in a past trial, else guessed.

    Raises:
        InvalidInputError: nothing in the policy's online section could reject a run in this mode, or can be simulated.
    """
    online = simulated_part(policy, given.mode)
    shares, guessed = dict(given.shares), set()
    measured = {} if past is None else dict(_measured_shares(online, past))
    for check in online.checks:
        if isinstance(check, RatioPolicy) and check.name not in shares:
            shares[check.name] = measured.get(check.name, _guess(check))
            guessed |= set() if check.name in measured else {check.name}
    median, limits = given.latency_median, given.latency_bounds
    histogram = next((check for check in online.checks if isinstance(check, LatencyPolicy)), None)
    if histogram is not None:
        seen = None if past is None else _measured_latency(histogram, past)
        limits = tuple(sorted({*limits, *(histogram.slower_than or ())})) if seen is None else seen[1]
        if median is None:
            median = _GUESSED_MEDIAN if seen is None else seen[0]
            guessed |= {histogram.name} if seen is None else set()
    return replace(given, shares=shares, latency_median=median, latency_bounds=limits, guessed=frozenset(guessed))


def describe(policy: Policy, traffic: Traffic) -> str:
    """Return what is simulated, and what is not, in a sentence or two."""
    online = simulated_part(policy, traffic.mode)
    shares = ", ".join(f"{name} {share:.4g}" for name, share in sorted(traffic.shares.items()))
    left = [check.name for check in (policy.online.checks if policy.online else ()) if check not in online.checks]
    about = (
        f"{traffic.mode} at {traffic.rollout:g}, {traffic.requests_per_second:g} requests/s from {traffic.users} users, "
        f"looked at at the end of every block of {online.step_seconds:g} s and more, "
        f"for up to {online.budgets.inconclusive_minutes:g} minutes"
    )
    parts = [
        about,
        f"good shares: {shares}" if shares else "",
        f"median latency {traffic.latency_median:g} s" if traffic.latency_median is not None else "",
        f"guessed, not measured: {', '.join(sorted(traffic.guessed))}" if traffic.guessed else "",
        f"not simulated: {', '.join(left)}" if left else "",
    ]
    return "; ".join(part for part in parts if part)


def example_trial(mode: TrialMode, rollout: float) -> TrialFacts:
    """Return a trial of two runs that do not exist."""
    return TrialFacts(CANDIDATE, CURRENT, mode, rollout, RELEASE, START, None)


def cuts_of(online: OnlinePolicy) -> Floats:
    """Return the bounds of all blocks until the wait for evidence ends."""
    end = START + online.budgets.inconclusive
    return bounds(START.timestamp(), end.timestamp(), online.step_seconds)


def simulate_online(policy: Policy, traffic: Traffic, worse: Worse, *, repeats: int, seed: int) -> Tally:
    """Try ``repeats`` candidates that are worse as said; ``traffic`` is complete, see :func:`traffic_for`.

    Raises:
        InvalidInputError: as :func:`traffic_for`.
    """
    online = simulated_part(policy, traffic.mode)
    part = policy.model_copy(update={"online": online})
    trial = example_trial(traffic.mode, traffic.rollout)
    cuts = cuts_of(online)
    attempts = []
    for number in range(repeats):
        seen = observe(online, trial, cuts, traffic, worse, Chance(np.random.default_rng([seed, number])))
        attempts.append(_tried(part, seen))
    return Tally("online", worse.name, tuple(attempts))


def _tried(policy: Policy, seen: Observed) -> Attempt:
    """Look at the end of every block until the gate decides, or the wait ends."""
    blocks = len(seen.bounds) - 1
    if policy.online is None or blocks < 1:
        raise InvalidInputError("the wait for evidence is shorter than one block: nothing can be looked at")
    for block in range(1, blocks + 1):
        now = seen.time(block)
        decision = judge(policy, evidence_of(seen.until(block)), now, "online")
        said = outcome(decision, started_at=START, now=now, budgets=policy.online.budgets)
        if said != "wait":
            return Attempt(Ending.of(decision.verdict), (now - START).total_seconds() / 60.0)
    return Attempt(Ending.of(decision.verdict), policy.online.budgets.inconclusive_minutes)


def evidence_of(online: OnlineEvidence) -> Evidence:
    """Return evidence about a simulated trial, in which everything else is as it should be."""
    return Evidence(
        run_id=CANDIDATE,
        release_id=RELEASE,
        registry=RegistryFacts(2, CURRENT, _MANIFEST, _MANIFEST, None),
        run=RunFacts(_MANIFEST, START),
        data_quality=_NOT_SIMULATED,
        evaluation=_NOT_SIMULATED,
        per_user=_NOT_SIMULATED,
        online=online,
    )


def simulated_part(policy: Policy, mode: str) -> OnlinePolicy:
    """Return the online section with the checks that can be simulated in this mode.

    Raises:
        InvalidInputError: there is none, or none that blocks.
    """
    if policy.online is None:
        raise InvalidInputError(f"the policy {policy.name!r} has no online section")
    kept = tuple(check for check in policy.online.checks if isinstance(check, _SIMULATED) and mode in check.modes)
    if not any(check.blocks for check in kept):
        raise InvalidInputError(f"no ratio, latency or sample_ratio check of the policy blocks in mode {mode}")
    return policy.online.model_copy(update={"checks": kept})


def _guess(check: RatioPolicy) -> float:
    """Return a share that a healthy run might show: well on the right side of a limit."""
    if check.at_most is not None:
        return check.at_most / 2.0
    if check.at_least is not None:
        return (1.0 + check.at_least) / 2.0
    return _GUESSED_BAD if check.worse == "higher" else _GUESSED_GOOD


def _measured_shares(online: OnlinePolicy, past: OnlineEvidence) -> Iterable[tuple[str, float]]:
    """Yield the shares of the current run in a past trial; of the candidate where only that was asked about."""
    if isinstance(past.trial, Missing):
        return
    for check in online.checks:
        if isinstance(check, RatioPolicy):
            arm: Arm = "candidate" if check.margin is None else "current"
            asked = [[RangeQuery(past.trial.filled(one, arm)) for one in found] for found in (check.count, check.of)]
            counted, everything = (sum(_total(past, query) for query in queries) for queries in asked)
            if everything > 0.0 and 0.0 <= counted <= everything:
                yield check.name, counted / everything


def _measured_latency(check: LatencyPolicy, past: OnlineEvidence) -> tuple[float, tuple[float, ...]] | None:
    """Return median and bounds of the current run's histogram in a past trial."""
    if isinstance(past.trial, Missing):
        return None
    found = past.histories.get(RangeQuery(past.trial.filled(bucket_selector(check.histogram), "current")))
    if not isinstance(found, History):
        return None
    counts: dict[float, float] = {}
    for one in found.series:
        limit = float(one.labels.get("le", "nan"))
        counts[limit] = counts.get(limit, 0.0) + _counted(one.values)
    limits = sorted(limit for limit in counts if np.isfinite(limit) and limit > 0.0)
    everything = counts.get(np.inf, 0.0)
    below = [counts[limit] for limit in limits]
    if not limits or everything <= 0.0 or not below[0] < everything / 2.0 < below[-1]:
        return None
    median = np.exp(np.interp(everything / 2.0, below, np.log(limits)))
    return float(median), tuple(limits)


def _total(past: OnlineEvidence, query: RangeQuery) -> float:
    found = past.histories.get(query)
    return sum(_counted(one.values) for one in found.series) if isinstance(found, History) else 0.0


def _counted(values: Floats) -> float:
    """Return how much a counter counted; a restart is left out: what is wanted here is a typical share."""
    seen = values[~np.isnan(values)]
    return float(np.maximum(np.diff(seen), 0.0).sum()) if len(seen) else 0.0
