"""One look at the evidence, and what to do about it: the gate's worker and its trigger look alike."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from model_release.adapters.evidence import collect, collect_alerts
from model_release.adapters.sources import Sources
from model_release.checks import alerts
from model_release.contract import utc_now
from model_release.evidence import Evidence, Missing, TrialFacts
from model_release.judge import Outcome, budgets_of, deadline, judge, outcome
from model_release.paths import ReleasePaths
from model_release.policy import AlertsPolicy, Policy, Stage, default_policy_path, load_policy
from model_release.verdict import Decision


@dataclass(frozen=True)
class Asked:
    """What a gate is asked: may ``run_id`` go on, in this release, at this stage?  ``policy`` is a file, None: the default."""

    run_id: str
    release_id: str
    stage: Stage
    policy: str | None


@dataclass(frozen=True)
class Look:
    """What one look found.

    Attributes:
        decision: what the policy says of the evidence.
        outcome: what to do about it.
        deadline: when the wait ends if nothing changes.
        latest: when it ends whatever is found until then.
        policy: the policy that was read.
        evidence: what the decision was computed from.
    """

    decision: Decision
    outcome: Outcome
    deadline: dt.datetime
    latest: dt.datetime
    policy: Policy
    evidence: Evidence

    @property
    def trial(self) -> TrialFacts | None:
        """The trial under way, if the evidence is about one."""
        online = self.evidence.online
        return online.trial if online is not None and isinstance(online.trial, TrialFacts) else None


def look(paths: ReleasePaths, asked: Asked, *, started_at: float) -> Look:
    """Read the policy, collect what it needs, and judge.

    Args:
        paths: the installation.
        asked: the question.
        started_at: Unix time from which the budgets count.

    Raises:
        ModelReleaseError: the policy is not usable, or can't judge this stage.  What can't be measured is no error.
    """
    policy = _policy_of(asked)
    evidence = collect(paths, policy, asked.run_id, asked.release_id, asked.stage, sources=Sources.from_environment())
    now, began = utc_now(), dt.datetime.fromtimestamp(started_at, dt.UTC)
    decision, budgets = judge(policy, evidence, now, asked.stage), budgets_of(policy, asked.stage)
    return Look(
        decision=decision,
        outcome=outcome(decision, started_at=began, now=now, budgets=budgets),
        deadline=deadline(decision, started_at=began, budgets=budgets),
        latest=began + max(budgets.error, budgets.inconclusive),
        policy=policy,
        evidence=evidence,
    )


@dataclass(frozen=True)
class AlertsLook:
    """What one look at alerts found: ``verdicts`` as :func:`alert_verdicts`; ``answered``: Alertmanager did."""

    verdicts: list[str]
    answered: bool


def look_at_alerts(asked: Asked) -> AlertsLook:
    """Make the ``alerts`` checks before a trial and no others: one question to Alertmanager, and no file but the policy.

    Raises:
        ModelReleaseError: the policy is not usable.
    """
    checks = [one for one in _policy_of(asked).checks if isinstance(one, AlertsPolicy)]
    evidence, now = collect_alerts(asked.run_id, asked.release_id, sources=Sources.from_environment()), utc_now()
    verdicts = [result.verdict.value for one in checks for result in alerts.check(one, evidence, now)]
    return AlertsLook(verdicts=verdicts, answered=not isinstance(evidence.alerts, Missing))


def alert_verdicts(decision: Decision) -> list[str]:
    """Return the verdicts of a decision's ``alerts`` checks, in the policy's order."""
    return [result.verdict.value for result in decision.results if result.kind == "alerts"]


def _policy_of(asked: Asked) -> Policy:
    return load_policy(Path(asked.policy) if asked.policy else default_policy_path())
