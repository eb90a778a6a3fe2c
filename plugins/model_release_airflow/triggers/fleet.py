"""Wait until every worker of every replica serves what was committed; only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release import fleet
from model_release.errors import InvalidInputError, ModelReleaseError
from model_release.registry import Registry
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.shared import REPLICAS, pause

if TYPE_CHECKING:
    from airflow.sdk import Connection

MINIMUM_LIFE_SECONDS = 3.0  # a trigger that fires at once can make the scheduler fail the task (apache/airflow #71580)


class Commit(TypedDict):
    """What was committed, carried through the wait."""

    generation: int
    changed: bool
    previous_run_id: str | None


class FleetEvent(TypedDict):
    """How the wait ended."""

    status: Literal["agreed", "timed_out"]
    commit: Commit
    disagreements: list[str]


def parse_fleet_event(event: dict[str, Any] | None) -> FleetEvent:
    """Return the event of a :class:`FleetAgreesTrigger`.

    Raises:
        InvalidInputError: it is none; nothing unknown is ever taken for success.
    """
    if event is None or event.get("status") not in {"agreed", "timed_out"} or "commit" not in event:
        raise InvalidInputError(f"unknown event from the triggerer: {event!r}")
    found = event["commit"]
    commit = Commit(
        generation=int(found["generation"]), changed=bool(found["changed"]), previous_run_id=found["previous_run_id"]
    )
    return FleetEvent(status=event["status"], commit=commit, disagreements=list(event.get("disagreements", [])))


def desired_text(registry: Registry) -> str:
    """Return the part of the registry that replicas are compared with, as JSON."""
    return registry.model_copy(update={"history": (), "runs": ()}).model_dump_json()


class FleetAgreesTrigger(BaseTrigger):
    """Ask all replicas until they agree ``agreeing_reads`` times in a row, or the deadline passes.

    The connection is read anew for each question: replicas that join or move are asked too.  Triggers that wait for the
    same state of the same connection share the answers, each of them counted once.

    :param conn_id: The connection of the recommendation API.
    :param desired: What they must serve, from :func:`desired_text`.
    :param commit: What was committed; comes back in the event.
    :param agreeing_reads: How often in a row they must agree.
    :param poll_seconds: Pause between two questions.
    :param deadline: Unix time when the wait ends.
    """

    def __init__(
        self, *, conn_id: str, desired: str, commit: Commit, agreeing_reads: int, poll_seconds: float, deadline: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.desired = desired
        self.commit = commit
        self.agreeing_reads = agreeing_reads
        self.poll_seconds = poll_seconds
        self.deadline = deadline

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
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        desired = Registry.model_validate_json(self.desired)
        earliest = time.time() + MINIMUM_LIFE_SECONDS
        agreed, disagreements = 0, ["nobody was asked yet"]
        seconds = pause(self.poll_seconds, first=True)
        while agreed < self.agreeing_reads and time.time() < self.deadline:
            await asyncio.sleep(seconds)
            seconds = pause(self.poll_seconds)
            disagreements = await REPLICAS.ask(
                ("disagreements", self.conn_id, self.desired), self.poll_seconds, lambda: self._asked(desired)
            )
            agreed = 0 if disagreements else agreed + 1
        await asyncio.sleep(max(0.0, earliest - time.time()))
        status: Literal["agreed", "timed_out"] = "agreed" if agreed >= self.agreeing_reads else "timed_out"
        yield TriggerEvent(dict(FleetEvent(status=status, commit=self.commit, disagreements=disagreements)))  # type: ignore[no-untyped-call]

    async def _asked(self, desired: Registry) -> list[str]:
        connection = await RecommendationApiHook.aget_connection(self.conn_id)
        return await REPLICAS.in_thread(lambda: self._ask(connection, desired))

    def _ask(self, connection: Connection, desired: Registry) -> list[str]:
        try:
            with RecommendationApiHook(self.conn_id).replicas(connection) as replicas:
                return fleet.disagreements(replicas, desired)
        except ModelReleaseError as error:  # for example a name that does not resolve at this moment
            return [str(error)]
