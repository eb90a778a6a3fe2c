"""Is an alert firing that forbids a release?

An alert that a broader one inhibits is firing all the same: only its message was held back.  A silence is a person's
word; the policy says whether it counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

from model_release.checks.freshness import CLOCK_SKEW_SECONDS
from model_release.checks.results import result, unmeasured
from model_release.evidence import Alert, Evidence, Missing
from model_release.policy import AlertsPolicy
from model_release.policy.context import label_matches
from model_release.verdict import CheckResult, Verdict

_NAMED = 3  # alerts in a reason; all stand in the details
_NAME = "alertname"


def check(policy: AlertsPolicy, evidence: Evidence, now: dt.datetime) -> tuple[CheckResult, ...]:
    """Return FAIL if an alert that the policy names is firing, ERROR if Alertmanager can't be asked or gets nothing."""
    alerts = evidence.alerts
    if isinstance(alerts, Missing):
        return (unmeasured(policy, alerts),)
    return tuple(_results(policy, alerts, now))


def matches(matcher: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label of ``matcher`` has its value, or matches as a whole what follows ``=~``; absent is empty."""
    return all(label_matches(wanted, labels.get(name, "")) for name, wanted in matcher.items())


def _results(policy: AlertsPolicy, alerts: tuple[Alert, ...], now: dt.datetime) -> Iterator[CheckResult]:
    if policy.watchdog is not None:
        yield _watchdog(policy, policy.watchdog, alerts, now)
    matched = [alert for alert in alerts if any(matches(matcher, alert.labels) for matcher in policy.matchers)]
    firing = [alert for alert in matched if policy.silenced == "count" or not alert.silenced]
    left_out = len(matched) - len(firing)
    aside = f"; {left_out} silenced ones are left out, as the policy says" if left_out else ""
    told = [_told(alert) for alert in sorted(firing, key=lambda alert: (alert.starts_at, sorted(alert.labels.items())))]
    if not firing:
        reason = f"none of {len(alerts)} alerts matches" if not matched else "no alert that counts"
        yield result(policy, Verdict.PASS, reason + aside, details={"firing": [], "silenced_left_out": left_out})
        return
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    reason = f"{len(told)} firing: {'; '.join(told[:_NAMED])}{more}{aside}"
    yield result(policy, Verdict.FAIL, reason, details={"firing": told, "silenced_left_out": left_out})


def _watchdog(policy: AlertsPolicy, name: str, alerts: tuple[Alert, ...], now: dt.datetime) -> CheckResult:
    """Return ERROR unless the alert that always fires arrived: else nothing else would have arrived either."""
    subject = f"watchdog {name}"
    dogs = [alert for alert in alerts if alert.labels.get(_NAME) == name]
    if not dogs:
        reason = f"{name} is not firing: nothing reaches Alertmanager, so that its silence says nothing"
        return result(policy, Verdict.ERROR, reason, subject=subject)
    earliest = min(alert.starts_at for alert in dogs)
    if (earliest - now).total_seconds() > CLOCK_SKEW_SECONDS:
        reason = f"{name} begins in the future, at {_time(earliest)}: the clocks disagree"
        return result(policy, Verdict.ERROR, reason, subject=subject)
    return result(policy, Verdict.PASS, f"{name} is firing since {_time(earliest)}", subject=subject)


def _told(alert: Alert) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()) if name != _NAME)
    marks = " (silenced)" if alert.silenced else " (inhibited)" if alert.state == "suppressed" else ""
    return f"{alert.labels.get(_NAME, 'an alert')}{{{labels}}} since {_time(alert.starts_at)}{marks}"


def _time(when: dt.datetime) -> str:
    return when.isoformat(sep=" ", timespec="minutes")
