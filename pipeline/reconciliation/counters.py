"""What Prometheus counted on a day."""

from __future__ import annotations

import asyncio
import datetime as dt
import math

from model_release.adapters.http_source import opened
from model_release.adapters.prometheus import Prometheus
from model_release.adapters.sources import PROMETHEUS_URL, Sources
from model_release.evidence import Missing, NumberQuery, Points
from model_release.reconciling.document import Counted
from pipeline.reconciliation.day import Day

_QUERIES = {
    "answers": "sum(increase(recommendation_answers_total[{seconds}s]))",
    "exposures": 'sum(increase(recommendation_exposures_total{{variant!="event"}}[{seconds}s]))',
    "dropped": "sum(increase(recommendation_exposures_dropped_total[{seconds}s]))",
}


def counted(sources: Sources, day: Day, now: dt.datetime) -> Counted:
    """Ask Prometheus by how much the counters of all replicas grew on a day, or by ``now``; it extrapolates to the bounds."""
    if sources.prometheus_url is None:
        return Counted(status="not_asked", reason=f"{PROMETHEUS_URL} is not set")
    found = asyncio.run(_ask(sources, day.start, min(day.end, now)))
    numbers: dict[str, float] = {}
    for name, answer in found.items():
        if isinstance(answer, Missing):
            return Counted(status="missing", reason=answer.reason)
        told = [point.value for point in answer.points if math.isfinite(point.value)]
        if len(told) != 1:
            return Counted(status="missing", reason=f"Prometheus has no {name} of that day; does it keep it so long?")
        numbers[name] = told[0]
    return Counted(status="agrees", **numbers)


async def _ask(sources: Sources, start: dt.datetime, end: dt.datetime) -> dict[str, Points | Missing]:
    seconds = max(1, round((end - start).total_seconds()))
    async with opened("Prometheus", sources) as source:
        prometheus = Prometheus(source)
        questions = {name: NumberQuery(query.format(seconds=seconds)) for name, query in _QUERIES.items()}
        answers = await asyncio.gather(
            *(prometheus.number(question, end.timestamp()) for question in questions.values())
        )
    return dict(zip(questions, answers, strict=True))
