"""Wait while a run is on trial: look, keep what was seen, renew the lease.  What it means, the worker decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release import fleet
from model_release.contract import LeaseReceipt, LeaseRequest
from model_release.errors import InvalidInputError, ModelReleaseError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.paths import ReleasePaths
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
from model_release_airflow.look import Asked, Look, look
from model_release_airflow.shared import EVIDENCE, REPLICAS, outlive_deferral, pause
from model_release_airflow.trial_record import TrialRecord

if TYPE_CHECKING:
    from airflow.sdk import Connection

UNABLE_SECONDS = 60.0  # how long it tries to look again before it says that it can't

Status = Literal["decided", "moved", "refused", "unable", "timed_out"]


class TrialEvent(TypedDict):
    """Why it is worth judging again; the worker does that.

    ``decided``: the wait is over, as far as the trigger can see.  ``moved``: the registry is at another generation than
    the lease is fenced with.  ``refused``: the lease is not renewed any more.  ``unable``: the trigger can't look.
    """

    status: Status
    started_at: float
    generation: int | None  # that the trigger was told
    reason: str


def parse_trial_event(event: dict[str, Any] | None) -> TrialEvent:
    """Return the event of a :class:`TrialTrigger`.

    Raises:
        InvalidInputError: it is none.
    """
    keys = TrialEvent.__required_keys__
    if event is None or event.get("status") not in get_args(Status) or not keys <= event.keys():
        raise InvalidInputError(f"unknown event from the triggerer: {event!r}")
    generation = event["generation"]
    return TrialEvent(
        status=event["status"],
        started_at=float(event["started_at"]),
        generation=None if generation is None else int(generation),
        reason=str(event["reason"]),
    )


class TrialTrigger(BaseTrigger):
    """Judge again and again until the outcome is no longer "wait", and renew the candidate's lease meanwhile.

    Keeps no state that matters: one that was restarted, or runs twice, sees and does the same.  A lease that has less
    than two thirds of ``lease_seconds`` left is renewed, whatever the verdict is: as long as it is worth waiting, an
    outage must not end the trial.

    :param run_id: The run on trial.
    :param release_id: The release that it is on trial for.
    :param policy: The policy file; None: the default one.
    :param started_at: Unix time from which the budgets count; comes back in the event.
    :param poll_seconds: Pause between two looks.
    :param deadline: Unix time when the wait ends, whatever is seen.
    :param conn_id: The connection of the recommendation API.
    :param generation: The registry's, when the worker judged; None: it could not be read.
    :param lease_seconds: How long the lease is renewed for.
    :param lease_until: Unix time when the lease ends; None: it has none, or it is not known.
    """

    def __init__(
        self,
        *,
        run_id: str,
        release_id: str,
        policy: str | None,
        started_at: float,
        poll_seconds: float,
        deadline: float,
        conn_id: str,
        generation: int | None,
        lease_seconds: int,
        lease_until: float | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.release_id = release_id
        self.policy = policy
        self.started_at = started_at
        self.poll_seconds = poll_seconds
        self.deadline = deadline
        self.conn_id = conn_id
        self.generation = generation
        self.lease_seconds = lease_seconds
        self.lease_until = lease_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        return (
            "model_release_airflow.triggers.trial.TrialTrigger",
            {
                "run_id": self.run_id,
                "release_id": self.release_id,
                "policy": self.policy,
                "started_at": self.started_at,
                "poll_seconds": self.poll_seconds,
                "deadline": self.deadline,
                "conn_id": self.conn_id,
                "generation": self.generation,
                "lease_seconds": self.lease_seconds,
                "lease_until": self.lease_until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        began = time.time()
        status, reason = await self._watch()
        await outlive_deferral(began, at_most=self.lease_seconds / 3)  # nobody renews the lease meanwhile
        event = TrialEvent(status=status, started_at=self.started_at, generation=self.generation, reason=reason)
        yield TriggerEvent(dict(event))  # type: ignore[no-untyped-call]

    async def _watch(self) -> tuple[Status, str]:
        record = TrialRecord(ReleasePaths.from_environment())
        lease_until, seen_at = self.lease_until, time.time()
        seconds = pause(self.poll_seconds, first=True)
        while (now := time.time()) < self.deadline:
            await asyncio.sleep(min(seconds, self.lease_seconds / 3, max(0.1, self.deadline - now)))
            seconds = pause(self.poll_seconds)
            try:
                lease_until = await self._renewed(lease_until)
                last = time.time() >= self.deadline  # judged as things are now, not as somebody saw them before
                fresh_seconds = 0.0 if last else self.poll_seconds
                seen = await EVIDENCE.ask_in_thread(self._question(record), fresh_seconds, lambda: self._look(record))
            except ReplicaRefusedError as error:
                return "refused", str(error)
            except (
                ModelReleaseError,
                AirflowNotFoundException,
            ) as error:  # a policy that is being written, for example
                self.log.warning("can't look: %s", error)
                if time.time() - seen_at >= UNABLE_SECONDS:
                    return "unable", str(error)
                continue
            seen_at = time.time()
            if seen.outcome != "wait":
                return "decided", seen.decision.summary
            if seen.decision.generation not in {None, self.generation}:
                return "moved", f"the registry is at generation {seen.decision.generation}, not {self.generation}"
        return "timed_out", "the budget is spent"

    def _question(self, record: TrialRecord) -> tuple[object, ...]:
        """Return all that a look depends on: the run, the release, the policy, and since when the budgets count."""
        return ("trial", record.paths.root, self.run_id, self.release_id, self.policy, self.started_at)

    def _look(self, record: TrialRecord) -> Look:
        asked = Asked(self.run_id, self.release_id, "online", self.policy)
        seen = look(record.paths, asked, started_at=self.started_at)
        if seen.outcome == "wait":  # else the worker keeps what it decides
            record.keep(seen.decision)
        return seen

    async def _renewed(self, until: float | None) -> float | None:
        """Renew the lease if it is time; return when it ends.

        Raises:
            ReplicaRefusedError: the trial has ended, or was superseded, or the token is not the right one.
        """
        if until is None or self.generation is None or until - time.time() > self.lease_seconds * 2 / 3:
            return until
        generation = self.generation
        question = ("lease", self.conn_id, self.release_id, generation, self.lease_seconds)
        try:
            receipt = await REPLICAS.ask(question, self.poll_seconds, lambda: self._renewal(generation))
        except ReplicaUnreachableError as error:
            self.log.warning("lease not renewed yet, %.0f s are left: %s", until - time.time(), error)
            return until
        return receipt.lease_until.timestamp()

    async def _renewal(self, generation: int) -> LeaseReceipt:
        connection = await RecommendationApiHook.aget_connection(self.conn_id)
        return await REPLICAS.in_thread(lambda: self._renew(connection, generation))

    def _renew(self, connection: Connection, generation: int) -> LeaseReceipt:
        request = LeaseRequest(release_id=self.release_id, generation=generation, lease_seconds=self.lease_seconds)
        with RecommendationApiHook(self.conn_id).replicas(connection) as replicas:
            return fleet.renew(replicas, request)
