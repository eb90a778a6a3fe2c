"""Is the run there, the one that was registered, and innocent of the data it was judged on?  Always checked."""

from __future__ import annotations

from model_release.evidence import Evidence, Missing
from model_release.verdict import CheckResult, Verdict

NAME = "artifact"


def check(evidence: Evidence) -> CheckResult:
    """Return FAIL for a run that changed or saw its own test window, ERROR if it can't be read."""
    run = evidence.run
    if isinstance(run, Missing):
        return _result(Verdict.ERROR, run.reason, settled=run.settled)
    registered = None if isinstance(evidence.registry, Missing) else evidence.registry.candidate_manifest_sha256
    if registered is not None and registered != run.manifest_sha256:
        return _result(
            Verdict.FAIL,
            f"its manifest is {run.manifest_sha256[:12]}, registered was {registered[:12]}: the run was changed",
        )
    evaluation = evidence.evaluation
    # days are those of the data; the manifest of an older run may have its cutoff in UTC
    zone = (run.as_of if isinstance(evaluation, Missing) else evaluation.window_start).tzinfo
    if not isinstance(evaluation, Missing) and run.as_of > evaluation.window_start:
        return _result(
            Verdict.FAIL,
            f"trained on data up to {run.as_of.astimezone(zone).isoformat(sep=' ', timespec='minutes')}, judged on data "
            f"from {evaluation.window_start.isoformat(sep=' ', timespec='minutes')}: it has seen the answers",
        )
    day = f"{run.as_of.astimezone(zone):%Y-%m-%d}"
    return _result(Verdict.PASS, f"manifest {run.manifest_sha256[:12]}, trained on data before {day}")


def _result(verdict: Verdict, reason: str, *, settled: bool = False) -> CheckResult:
    return CheckResult(check=NAME, kind=NAME, verdict=verdict, reason=reason, settled=settled)
