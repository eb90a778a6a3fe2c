"""Is every replica scraped, now, and does Prometheus' clock agree with ours?  Always checked during a trial.

A replica that is not scraped may be the one that fails; what is known of the others says nothing of it.
"""

from __future__ import annotations

import datetime as dt
import math

from model_release.checks.freshness import CLOCK_SKEW_SECONDS
from model_release.evidence import Missing, OnlineEvidence, Scrape
from model_release.policy import OnlinePolicy
from model_release.verdict import CheckResult, Verdict

NAME = "replicas"


def check(policy: OnlinePolicy, online: OnlineEvidence, now: dt.datetime) -> CheckResult:
    """Return ERROR if Prometheus is not asked, is not of this time, or does not reach a replica."""
    offset, scrapes = online.clock_offset_seconds, online.scrapes
    if isinstance(offset, Missing):
        return _result(Verdict.ERROR, offset.reason)
    if not abs(offset) <= CLOCK_SKEW_SECONDS:
        return _result(Verdict.ERROR, f"Prometheus' clock differs by {offset:+.0f} seconds: set the clocks")
    if isinstance(scrapes, Missing):
        return _result(Verdict.ERROR, scrapes.reason)
    if not scrapes:
        return _result(Verdict.ERROR, f"no series of {policy.replicas}: does Prometheus scrape the recommendation API?")
    here = now.timestamp() + offset
    lost = [reason for reason in (_lost(scrape, here, policy.maximum_age_seconds) for scrape in scrapes) if reason]
    if lost:
        return _result(Verdict.ERROR, f"{len(lost)} of {len(scrapes)} replicas are not measured: {'; '.join(lost[:3])}")
    return _result(Verdict.PASS, f"{len(scrapes)} of {len(scrapes)} replicas are scraped")


def _lost(scrape: Scrape, now: float, limit: float) -> str | None:
    name = scrape.labels.get("instance", str(dict(scrape.labels)))
    if not math.isfinite(scrape.up) or scrape.up != 1.0:
        return f"{name} can't be scraped (up is {scrape.up:g})"
    age = now - scrape.at
    if not -CLOCK_SKEW_SECONDS <= age <= limit:
        return f"the newest scrape of {name} is {age:.0f} seconds old, at most {limit:g} are allowed"
    return None


def _result(verdict: Verdict, reason: str) -> CheckResult:
    return CheckResult(check=NAME, kind=NAME, verdict=verdict, reason=reason)
