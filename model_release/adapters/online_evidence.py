"""What a gate judges from during a trial: answers of Prometheus and Alertmanager, asked at the same time."""

from __future__ import annotations

import asyncio
import time

from model_release.adapters.alertmanager import firing
from model_release.adapters.http_source import opened
from model_release.adapters.prometheus import Clock, Prometheus
from model_release.adapters.sources import Sources
from model_release.blocks import Segment, bounds, segments
from model_release.errors import ConfigurationError
from model_release.evidence import (
    Alert,
    Evidence,
    History,
    Missing,
    NumberQuery,
    OnlineEvidence,
    Points,
    RangeQuery,
    TrialFacts,
    questions,
)
from model_release.policy import OnlinePolicy

LATE_SECONDS = 2.0  # after a block's end, until the scrapes in it have arrived
_Alerts = tuple[Alert, ...] | Missing


async def ask(
    sources: Sources,
    policy: OnlinePolicy | None,
    trial: TrialFacts | Missing | None,
    *,
    with_alerts: bool,
    clock: Clock = time.time,
) -> tuple[OnlineEvidence | None, _Alerts]:
    """Ask everything within ``sources.timeout_seconds``.

    Args:
        sources: whom.
        policy: what must be known of the trial; None: nothing.
        trial: which one; None: there is none to look at.
        with_alerts: whether Alertmanager is asked too.
        clock: our time.
    """
    deadline = asyncio.get_running_loop().time() + sources.timeout_seconds
    online, alerts = await asyncio.gather(
        _observed(sources, policy, trial, deadline, clock), _firing(sources, deadline, with_alerts=with_alerts)
    )
    return online, alerts


async def _firing(sources: Sources, deadline: float, *, with_alerts: bool) -> _Alerts:
    if not with_alerts:
        return Evidence.alerts
    return await firing(sources, deadline=deadline)


async def _observed(
    sources: Sources, policy: OnlinePolicy | None, trial: TrialFacts | Missing | None, deadline: float, clock: Clock
) -> OnlineEvidence | None:
    if trial is None or policy is None:
        return None
    if isinstance(trial, Missing):
        return OnlineEvidence(trial=trial)
    try:
        prometheus = opened("Prometheus", sources, deadline=deadline)
    except ConfigurationError as error:
        return _nothing(policy, trial, Missing(str(error)))
    async with prometheus as source:
        return await _answered(Prometheus(source, clock=clock), policy, trial)


async def _answered(prometheus: Prometheus, policy: OnlinePolicy, trial: TrialFacts) -> OnlineEvidence:
    now = await prometheus.time()
    if isinstance(now, Missing):
        return _nothing(policy, trial, now)
    # Prometheus keeps milliseconds; bounds that lie between two of them would not be found again
    start, step = round(trial.started_at.timestamp(), 3), round(policy.step_seconds, 3)
    blocks = segments(start, now.at - LATE_SECONDS, step)
    asked = questions(policy, trial)
    ranges = [question for question in asked if isinstance(question, RangeQuery)]
    numbers = [question for question in asked if isinstance(question, NumberQuery)]
    scrapes, histories, points = await asyncio.gather(
        prometheus.scrapes(trial.filled(policy.replicas), now.at),
        asyncio.gather(*(_history(prometheus, question, blocks) for question in ranges)),
        asyncio.gather(*(prometheus.number(question, now.at) for question in numbers)),
    )
    return OnlineEvidence(
        trial=trial,
        clock_offset_seconds=now.offset_seconds,
        bounds=bounds(start, now.at - LATE_SECONDS, step),
        scrapes=scrapes,
        histories=dict(zip(ranges, histories, strict=True)),
        numbers=dict(zip(numbers, points, strict=True)),
    )


async def _history(prometheus: Prometheus, question: RangeQuery, blocks: list[Segment]) -> History | Missing:
    if not blocks:  # the trial has just begun: there is nothing to ask about yet, and the bounds say so
        return History(())
    return await prometheus.history(question, blocks)


def _nothing(policy: OnlinePolicy, trial: TrialFacts, why: Missing) -> OnlineEvidence:
    """Return the answer ``why`` to every question."""
    asked = questions(policy, trial)
    histories: dict[RangeQuery, History | Missing] = {each: why for each in asked if isinstance(each, RangeQuery)}
    numbers: dict[NumberQuery, Points | Missing] = {each: why for each in asked if isinstance(each, NumberQuery)}
    return OnlineEvidence(trial=trial, clock_offset_seconds=why, scrapes=why, histories=histories, numbers=numbers)
