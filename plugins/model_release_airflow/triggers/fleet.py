"""Wait until every worker of every replica serves what was committed; only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release.errors import InvalidInputError
from model_release.policy.quorum import EVERYONE
from model_release.registry import Registry
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.roll import Roll, call_roll
from model_release_airflow.shared import REPLICAS, outlive_deferral, pause

LAG_SECONDS = 5.0  # a replica that was told and lags for longer is told again


class Commit(TypedDict):
    """What was committed, carried through the wait."""

    generation: int
    changed: bool
    previous_run_id: str | None


class Told(TypedDict):
    """Whom the worker told, carried through the wait.

    ``quorum`` is the policy's, ``replicas`` are all there were, ``acknowledged`` those that answered well, and ``again``
    is how often others may still be told.
    """

    quorum: int | str
    replicas: list[str]
    acknowledged: list[str]
    again: int


NOBODY_TOLD = Told(quorum=EVERYONE, replicas=[], acknowledged=[], again=0)
Status = Literal["agreed", "timed_out", "lagging"]


class FleetEvent(TypedDict):
    """How the wait ended; ``lagging`` are the replicas that a worker should tell, until ``deadline``."""

    status: Status
    commit: Commit
    told: Told
    disagreements: list[str]
    lagging: list[str]
    deadline: float


def parse_fleet_event(event: dict[str, Any] | None) -> FleetEvent:
    """Return the event of a :class:`FleetAgreesTrigger`.

    Raises:
        InvalidInputError: it is none; nothing unknown is ever taken for success.
    """
    if event is None or event.get("status") not in {"agreed", "timed_out", "lagging"} or "commit" not in event:
        raise InvalidInputError(f"unknown event from the triggerer: {event!r}")
    commit = event["commit"]
    return FleetEvent(
        status=event["status"],
        commit=Commit(
            generation=commit["generation"], changed=commit["changed"], previous_run_id=commit["previous_run_id"]
        ),
        told=Told(**{**NOBODY_TOLD, **event.get("told", {})}),
        disagreements=list(event.get("disagreements", [])),
        lagging=list(event.get("lagging", [])),
        deadline=float(event.get("deadline", 0.0)),
    )


def agreed_event(commit: Commit, told: Told, deadline: float) -> FleetEvent:
    """Return what the trigger would say if it had seen the fleet agree: for a worker that has seen it itself."""
    return FleetEvent(status="agreed", commit=commit, told=told, disagreements=[], lagging=[], deadline=deadline)


def told_again(event: FleetEvent, heard: Sequence[str]) -> FleetEvent:
    """Return the event of a wait that goes on, after those that lagged were told and ``heard`` acknowledged."""
    told = Told(
        quorum=event["told"]["quorum"],
        replicas=sorted({*event["told"]["replicas"], *event["lagging"]}),
        acknowledged=sorted({*event["told"]["acknowledged"], *heard}),
        again=event["told"]["again"] - 1,
    )
    return agreed_event(event["commit"], told, event["deadline"])


def desired_text(registry: Registry) -> str:
    """Return the part of the registry that replicas are compared with, as JSON."""
    return registry.model_copy(update={"history": (), "runs": ()}).model_dump_json()


class FleetAgreesTrigger(BaseTrigger):
    """Ask all replicas until they agree ``agreeing_reads`` times in a row, one should be told again, or time is up.

    The connection is read anew for each question: replicas that join or move are asked too.  A replica that joined, or
    did not acknowledge, and lags, is for a worker to tell; so is one that was told and lags for ``LAG_SECONDS``.
    Triggers that wait for the same state of the same connection share the answers, each of them counted once.

    :param conn_id: The connection of the recommendation API.
    :param desired: What they must serve, from :func:`desired_text`.
    :param commit: What was committed; comes back in the event.
    :param agreeing_reads: How often in a row they must agree.
    :param poll_seconds: Pause between two questions.
    :param deadline: Unix time when the wait ends; comes back in the event.
    :param told: Whom the worker told, and the quorum; comes back in the event.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        desired: str,
        commit: Commit,
        agreeing_reads: int,
        poll_seconds: float,
        deadline: float,
        told: Told = NOBODY_TOLD,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.desired = desired
        self.commit = commit
        self.agreeing_reads = agreeing_reads
        self.poll_seconds = poll_seconds
        self.deadline = deadline
        self.told = told

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        return (
            "model_release_airflow.triggers.fleet.FleetAgreesTrigger",
            {
                "conn_id": self.conn_id,
                "desired": self.desired,
                "commit": dict(self.commit),
                "agreeing_reads": self.agreeing_reads,
                "poll_seconds": self.poll_seconds,
                "deadline": self.deadline,
                "told": dict(self.told),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        began = time.time()
        event = await self._watch()
        await outlive_deferral(began)
        yield TriggerEvent(dict(event))  # type: ignore[no-untyped-call]

    async def _watch(self) -> FleetEvent:
        desired = Registry.model_validate_json(self.desired)
        hook = RecommendationApiHook(self.conn_id)
        agreed, disagreements = 0, ["nobody was asked yet"]
        since: dict[str, float] = {}
        seconds = pause(self.poll_seconds, first=True)
        while time.time() < self.deadline:
            await asyncio.sleep(seconds)
            seconds = pause(self.poll_seconds)
            roll = await REPLICAS.ask(
                ("roll", self.conn_id, self.desired, self.told["quorum"]),
                self.poll_seconds,
                lambda: self._roll(hook, desired),
            )
            disagreements = list(roll.blocking)
            agreed = 0 if disagreements else agreed + 1
            if agreed >= self.agreeing_reads:
                return self._event("agreed", disagreements)
            if lagging := self._to_tell(roll, since, time.time()):
                return self._event("lagging", disagreements, lagging)
        return self._event("timed_out", disagreements)

    async def _roll(self, hook: RecommendationApiHook, desired: Registry) -> Roll:
        connection = await RecommendationApiHook.aget_connection(self.conn_id)
        return await REPLICAS.in_thread(lambda: call_roll(hook, desired, self.told["quorum"], connection))

    def _to_tell(self, roll: Roll, since: dict[str, float], now: float) -> list[str]:
        """Return whom a worker should tell now; ``since``: when each that lags was first seen to, kept up to date."""
        for url in set(since) - roll.lagging:
            del since[url]
        for url in roll.lagging:
            since.setdefault(url, now)
        if not self.told["again"]:
            return []
        heard = self.told["acknowledged"]
        return sorted(url for url, first in since.items() if url not in heard or now - first >= LAG_SECONDS)

    def _event(self, status: Status, disagreements: list[str], lagging: Sequence[str] = ()) -> FleetEvent:
        return FleetEvent(
            status=status,
            commit=self.commit,
            told=self.told,
            disagreements=disagreements,
            lagging=list(lagging),
            deadline=self.deadline,
        )
