"""May anything be released automatically at all?  Always checked."""

from __future__ import annotations

from model_release.evidence import Evidence, Missing
from model_release.verdict import CheckResult, Verdict

NAME = "latch"


def check(evidence: Evidence) -> CheckResult:
    """Return FAIL while the latch is set, ERROR if the registry can't be read."""
    registry = evidence.registry
    if isinstance(registry, Missing):
        return CheckResult(check=NAME, kind=NAME, verdict=Verdict.ERROR, reason=registry.reason)
    if registry.latch is not None:
        reason = f"automatic releases are stopped: {registry.latch}; a person clears the latch"
        return CheckResult(check=NAME, kind=NAME, verdict=Verdict.FAIL, reason=reason)
    reason = f"not set, registry at generation {registry.generation}"
    return CheckResult(check=NAME, kind=NAME, verdict=Verdict.PASS, reason=reason)
