"""Is this run the one on trial, for this release, and still within its lease?  Always checked during a trial."""

from __future__ import annotations

import datetime as dt

from model_release.evidence import Evidence, Missing, TrialFacts
from model_release.verdict import CheckResult, Verdict

NAME = "trial"


def check(evidence: Evidence, now: dt.datetime) -> CheckResult:
    """Return ERROR, which mostly no waiting mends, unless the evidence is about the trial that is under way."""
    if evidence.online is None:
        return _error("the evidence is not about a trial: collect it for the online stage")
    trial = evidence.online.trial
    if isinstance(trial, Missing):
        return _error(trial.reason, settled=trial.settled)
    other = _other(trial, evidence, now)
    if other is not None:
        return _error(other, settled=True)
    minutes = (now - trial.started_at).total_seconds() / 60.0
    if minutes < 0.0:
        return _error(f"it begins in {-minutes:.1f} minutes: the clocks disagree")
    reason = f"{trial.mode} at {trial.rollout:g} against {trial.current_run_id}, for {minutes:.1f} minutes"
    return CheckResult(check=NAME, kind=NAME, verdict=Verdict.PASS, reason=reason)


def _other(trial: TrialFacts, evidence: Evidence, now: dt.datetime) -> str | None:
    """Return why this is not, or no longer, the trial in question; None: it is."""
    if trial.run_id != evidence.run_id:
        return f"on trial is run {trial.run_id!r}, not {evidence.run_id!r}"
    if evidence.release_id is not None and trial.release_id != evidence.release_id:
        return f"it is on trial for release {trial.release_id!r}, not {evidence.release_id!r}"
    if trial.lease_until is not None and trial.lease_until <= now:
        return f"its lease ran out at {trial.lease_until.isoformat(timespec='seconds')}"
    return None


def _error(reason: str, *, settled: bool = False) -> CheckResult:
    return CheckResult(check=NAME, kind=NAME, verdict=Verdict.ERROR, reason=reason, settled=settled)
