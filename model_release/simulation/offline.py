"""Comparisons before a trial, repeated on the values of real users: runs that are equal, and runs that are worse.

An equal run is made from a past evaluation by giving each user's two values to candidate and current by lot: they
differ user by user as much as the two real runs do, and on average not at all.  Users are drawn with replacement, as
the bootstrap draws them, so that each repeat is another week of other users.  What is worse by r has all of the
candidate's values multiplied by 1 - r, so that its mean is r below that of an equal run.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from model_release.errors import InvalidInputError
from model_release.evidence import Evaluation, Evidence, Floats, Missing, PerUser, RegistryFacts, RunFacts, Strings
from model_release.judge import judge
from model_release.policy import ALL, AbsolutePolicy, ComparisonPolicy, Policy
from model_release.simulation.tally import Attempt, Ending, Tally

_NOT_SIMULATED = Missing("it is not simulated")


@dataclass(frozen=True)
class Users:
    """The rows of an evaluation, by user.

    Attributes:
        rows: row numbers, those of one user together: (rows,).
        starts: where each user's begin in ``rows``: (users,).
        counts: how many each user has: (users,).
        names: one per user that is drawn: (users,).
    """

    rows: np.ndarray[tuple[int], np.dtype[np.intp]]
    starts: np.ndarray[tuple[int], np.dtype[np.intp]]
    counts: np.ndarray[tuple[int], np.dtype[np.intp]]
    names: Strings

    @classmethod
    def of(cls, per_user: PerUser) -> Users:
        """Sort the rows by user."""
        order = np.argsort(per_user.users, kind="stable")
        _, starts, counts = np.unique(per_user.users[order], return_index=True, return_counts=True)
        width = len(str(len(starts)))
        return cls(order, starts, counts, np.array([f"{number:0{width}d}" for number in range(len(starts))]))


def comparable_part(policy: Policy) -> Policy | None:
    """Return the policy with what depends on users alone; None: nothing of that could reject a run."""
    kept = tuple(
        check
        for check in policy.checks
        if isinstance(check, ComparisonPolicy) or (isinstance(check, AbsolutePolicy) and "." not in check.metric)
    )
    return policy.model_copy(update={"checks": kept}) if any(check.blocks for check in kept) else None


def simulate_offline(
    policy: Policy, evaluation: Evaluation, per_user: PerUser, *, regression: float, repeats: int, seed: int
) -> Tally:
    """Judge ``repeats`` candidates that are worse by ``regression`` (a share of their mean; 0: equal).

    Raises:
        InvalidInputError: there are no values of two runs, or nothing in the policy compares them.
    """
    part = comparable_part(policy)
    if part is None:
        raise InvalidInputError(f"the policy {policy.name!r} has no check on users that blocks: nothing to simulate")
    if not per_user.current:
        raise InvalidInputError(f"the evaluation of {evaluation.run_id!r} compares no two runs: evaluate another one")
    users = Users.of(per_user)
    attempts = []
    for number in range(repeats):
        drawn = resampled(per_user, users, np.random.default_rng([seed, number]), worse_by=regression)
        decision = judge(part, _evidence(evaluation, drawn), evaluation.evaluated_at + dt.timedelta(seconds=1))
        attempts.append(Attempt(Ending.of(decision.verdict)))
    name = "equal runs" if regression == 0.0 else f"metrics {100 * regression:g} % lower"
    return Tally("offline", name, tuple(attempts))


def resampled(per_user: PerUser, users: Users, rng: np.random.Generator, *, worse_by: float) -> PerUser:
    """Return as many users, drawn with replacement, each with its two values by lot."""
    drawn = rng.integers(0, len(users.starts), len(users.starts))
    counts = users.counts[drawn]
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1])) - np.repeat(ends - counts, counts)
    rows = users.rows[np.repeat(users.starts[drawn], counts) + within]
    swapped = np.repeat(rng.random(len(drawn)) < 0.5, counts)  # noqa: PLR2004
    candidate: dict[str, Floats] = {}
    current: dict[str, Floats] = {}
    for metric in sorted(set(per_user.candidate) & set(per_user.current)):
        one, other = per_user.candidate[metric][rows], per_user.current[metric][rows]
        candidate[metric] = np.where(swapped, other, one) * (1.0 - worse_by)
        current[metric] = np.where(swapped, one, other)
    return PerUser(
        users=np.repeat(users.names, counts),
        user_slices=per_user.user_slices[rows],
        item_slices=per_user.item_slices[rows],
        candidate=candidate,
        current=current,
    )


def _evidence(evaluation: Evaluation, drawn: PerUser) -> Evidence:
    """Return evidence in which everything but the users is as it should be."""
    everyone = drawn.item_slices == ALL
    means = {metric: float(values[everyone].mean()) for metric, values in drawn.candidate.items()}
    candidate = {**evaluation.metrics.candidate, **means}
    metrics = evaluation.metrics.model_copy(update={"candidate": candidate})
    return Evidence(
        run_id=evaluation.run_id,
        release_id=None,
        registry=RegistryFacts(
            generation=1,
            current_run_id=evaluation.against,
            current_manifest_sha256=evaluation.current_manifest_sha256,
            candidate_manifest_sha256=evaluation.candidate_manifest_sha256,
            latch=None,
        ),
        run=RunFacts(manifest_sha256=evaluation.candidate_manifest_sha256, as_of=evaluation.window_start),
        data_quality=_NOT_SIMULATED,
        evaluation=evaluation.model_copy(update={"metrics": metrics}),
        per_user=drawn,
    )
