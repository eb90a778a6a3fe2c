"""A day of the log as requests and outcomes: who asks when, and what they say that they took."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
import polars as pl

from model_release.adapters.addresses import bearer, check_url
from model_release.contract import EVENTS_PATH
from model_release.exposures import timestamp
from pipeline import ingest
from pipeline.config import PipelineConfig
from pipeline.reconciliation.day import Day

_OK, _ACCEPTED = 200, 202
_LONGEST_LIST = 1000  # of POST /events

Clock = Callable[[], float]


@dataclass(frozen=True, order=True)
class Visit:
    """What one user took at one moment of the log."""

    at: dt.datetime
    user: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """How the log's time passes.

    Attributes:
        speed: seconds of the log per second; infinite: nobody waits.
        lead: how long before they take something people ask.
        concurrency: users who are served at the same time; those of one user never are.
        k: length of the list that is asked for.
        timeout_seconds: for one answer.
    """

    speed: float = 1440.0
    lead: dt.timedelta = dt.timedelta(minutes=10)
    concurrency: int = 8
    k: int = 20
    timeout_seconds: float = 10.0


@dataclass
class Tally:
    """What became of it, so far."""

    asked: int = 0
    answered: int = 0
    degraded: int = 0
    sent: int = 0
    taken: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def whole(self) -> bool:
        """Whether everything was answered and taken."""
        return not self.failed

    def __str__(self) -> str:
        """Return a few lines for people."""
        lines = [
            f"requests  {self.asked:,} sent, {self.answered:,} answered, {self.degraded:,} of them degraded",
            f"outcomes  {self.sent:,} sent, {self.taken:,} taken",
        ]
        return "\n".join([*lines, *(f"failed    {count:,} {what}" for what, count in sorted(self.failed.items()))])


def plan(config: PipelineConfig, date: dt.date | None, users: int | None) -> list[Visit]:
    """Return the visits of a day of the log, in their order; always the same.

    Args:
        config: the pipeline's configuration.
        date: in ``source.timezone``; None: the last day that the log has.
        users: only so many, the first of the day; None: all.

    Raises:
        InvalidInputError: the log has nothing of that day.
    """
    if date is None:
        date = ingest.log_span(config)[1].astimezone(config.source.zone).date()
    day = Day(date, config.source.zone)
    rows = ingest.load_interactions(config, since=day.start, before=day.end)
    grouped = (
        rows.unique(["user_id", "item_id", "timestamp"]).group_by("timestamp", "user_id").agg(pl.col("item_id").sort())
    )
    visits = sorted(Visit(at, user, tuple(items)) for at, user, items in grouped.iter_rows())
    if users is None:
        return visits
    chosen = set(list(dict.fromkeys(visit.user for visit in visits))[:users])
    return [visit for visit in visits if visit.user in chosen]


class Replay:
    """One replay; ``tally`` says how far it is."""

    def __init__(
        self,
        urls: Sequence[str],
        pace: Pace,
        *,
        token: str | None = None,
        events: bool = True,
        clock: Clock = time.time,
    ) -> None:
        """Make one.

        Args:
            urls: replicas; users are spread over them.
            pace: how fast.
            token: for ``POST /events``.
            events: whether to say what was taken.
            clock: Unix time that outcomes are sent with.

        Raises:
            ConfigurationError: an address or the token is not usable.
        """
        self.tally = Tally()
        self._urls = [check_url(url, of="the recommendation API") for url in urls]
        self._pace = pace
        self._headers = bearer(token)
        self._events = events
        self._clock = clock

    async def run(self, visits: Sequence[Visit]) -> None:
        """Replay ``visits``; those of a user, one after the other, in the order of the log."""
        if not visits:
            return
        places = {user: place for place, user in enumerate(dict.fromkeys(visit.user for visit in visits))}
        lanes: list[list[Visit]] = [[] for _ in range(min(self._pace.concurrency, len(places)))]
        for visit in visits:
            lanes[places[visit.user] % len(lanes)].append(visit)
        first, started = visits[0].at - self._pace.lead, time.monotonic()
        limits = httpx.Limits(max_connections=len(lanes), max_keepalive_connections=len(lanes))
        async with (
            httpx.AsyncClient(timeout=self._pace.timeout_seconds, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            for place, lane in enumerate(lanes):
                url = self._urls[place % len(self._urls)]
                group.create_task(self._lane(http, url, lane, lambda at: self._until(at - first, started)))

    async def _lane(
        self, http: httpx.AsyncClient, url: str, visits: Sequence[Visit], due: Callable[[dt.datetime], float]
    ) -> None:
        steps = [(visit.at - self._pace.lead, 0, place) for place, visit in enumerate(visits)]
        steps += [(visit.at, 1, place) for place, visit in enumerate(visits)]
        request_ids: dict[int, str | None] = {}
        for at, kind, place in sorted(steps):
            await asyncio.sleep(due(at))
            if kind == 0:
                request_ids[place] = await self._ask(http, url, visits[place])
            elif self._events:
                await self._tell(http, url, visits[place], request_ids.pop(place))

    def _until(self, passed: dt.timedelta, started: float) -> float:
        """Return for how many seconds to wait until so much of the log's time has passed."""
        if math.isinf(self._pace.speed):
            return 0.0
        return max(0.0, started + passed.total_seconds() / self._pace.speed - time.monotonic())

    async def _ask(self, http: httpx.AsyncClient, url: str, visit: Visit) -> str | None:
        self.tally.asked += 1
        path = f"{url}/recommend/{quote(visit.user, safe='')}?k={self._pace.k}"
        try:
            answer = await http.get(path)
        except httpx.HTTPError as error:
            self.tally.failed[f"GET /recommend: {type(error).__name__}"] += 1
            return None
        if answer.status_code != _OK:
            self.tally.failed[f"GET /recommend: status {answer.status_code}"] += 1
            return None
        self.tally.answered += 1
        self.tally.degraded += answer.json()["degraded"] is not None
        return dict(answer.headers).get("x-request-id")

    async def _tell(self, http: httpx.AsyncClient, url: str, visit: Visit, request_id: str | None) -> None:
        for start in range(0, len(visit.items), _LONGEST_LIST):
            items = visit.items[start : start + _LONGEST_LIST]
            about = {"at": timestamp(self._clock()), "user": visit.user, "type": "purchase", "request_id": request_id}
            self.tally.sent += len(items)
            try:
                answer = await http.post(
                    f"{url}{EVENTS_PATH}", headers=self._headers, json=[{**about, "item": item} for item in items]
                )
            except httpx.HTTPError as error:
                self.tally.failed[f"POST /events: {type(error).__name__}"] += len(items)
                continue
            if answer.status_code == _ACCEPTED:
                self.tally.taken += len(items)
            else:
                self.tally.failed[f"POST /events: status {answer.status_code}"] += len(items)
