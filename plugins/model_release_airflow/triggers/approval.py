"""Wait for a person's answer; meanwhile watch the trial, if there is one, and keep its lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict, get_args
from uuid import UUID

from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from model_release.errors import InvalidInputError, ModelReleaseError, ReplicaRefusedError
from model_release.paths import ReleasePaths
from model_release_airflow.shared import EVIDENCE, outlive_deferral
from model_release_airflow.trial_record import TrialRecord
from model_release_airflow.triggers.trial import UNABLE_SECONDS, TrialTrigger

Status = Literal["answered", "rejecting", "moved", "refused", "unable", "timed_out"]


class ApprovalEvent(TypedDict):
    """Why the wait ended: somebody answered, or it is worth judging again, or time is up.

    ``chosen_options``, ``params_input`` and ``responded_by_user`` are those of Airflow's own event of an answer.
    """

    status: Status
    reason: str
    passed_at: float
    chosen_options: list[str]
    params_input: dict[str, Any]
    responded_by_user: dict[str, Any] | None


def parse_approval_event(event: dict[str, Any] | None) -> ApprovalEvent:
    """Return the event of an :class:`ApprovalTrigger`, or of Airflow, which resumes the task itself when it is answered.

    Raises:
        InvalidInputError: it is neither; nothing unknown is ever taken for a yes.
    """
    given = event or {}
    answered = bool(given.get("chosen_options") and given.get("responded_by_user")) and not given.get("timedout")
    status: Any = given.get("status", "answered" if answered else None)
    if status not in get_args(Status) or (status == "answered") != answered:
        raise InvalidInputError(f"unknown event while waiting for an approval: {event!r}")
    user = given.get("responded_by_user")
    return ApprovalEvent(
        status=status,
        reason=str(given.get("reason", "")),
        passed_at=float(given.get("passed_at", 0.0)),
        chosen_options=[str(option) for option in given.get("chosen_options") or []],
        params_input=dict(given.get("params_input") or {}),
        responded_by_user=None if user is None else dict(user),
    )


class ApprovalTrigger(TrialTrigger):
    """Ask Airflow for the answer, and watch the trial as :class:`TrialTrigger` does, until one of them ends the wait.

    A trial that passed ends nothing here, and one that can't be measured only once the policy's budget, which counts
    from the last time that it passed, is spent.

    :param ti_id: The task instance whose question it is.
    :param watched: Whether there is a trial to watch.
    """

    def __init__(
        self,
        *,
        ti_id: str,
        watched: bool,
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
        super().__init__(
            run_id=run_id,
            release_id=release_id,
            policy=policy,
            started_at=started_at,
            poll_seconds=poll_seconds,
            deadline=deadline,
            conn_id=conn_id,
            generation=generation,
            lease_seconds=lease_seconds,
            lease_until=lease_until,
        )
        self.ti_id = ti_id
        self.watched = watched

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        _, arguments = super().serialize()
        return (
            "model_release_airflow.triggers.approval.ApprovalTrigger",
            {**arguments, "ti_id": self.ti_id, "watched": self.watched},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        began = time.time()
        event = await self._wait()
        await outlive_deferral(began, at_most=self.lease_seconds / 3)
        yield TriggerEvent(dict(event))  # type: ignore[no-untyped-call]

    async def _wait(self) -> ApprovalEvent:
        record = TrialRecord(ReleasePaths.from_environment())
        lease_until, seen_at = self.lease_until, time.time()
        self.started_at = max(self.started_at, seen_at)  # made anew elsewhere, it does not know of the last PASS
        while (now := time.time()) < self.deadline:
            await asyncio.sleep(min(self.poll_seconds, self.lease_seconds / 3, max(0.1, self.deadline - now)))
            if (answer := await self._answer()) is not None:
                return answer
            if not self.watched:
                continue
            try:
                lease_until = await self._renewed(lease_until)
                seen = await EVIDENCE.in_thread(lambda: self._look(record))
            except ReplicaRefusedError as error:
                return self._event("refused", str(error))
            except (ModelReleaseError, AirflowNotFoundException) as error:
                self.log.warning("can't look: %s", error)
                if time.time() - seen_at >= UNABLE_SECONDS:
                    return self._event("unable", str(error))
                continue
            seen_at = time.time()
            if seen.outcome == "reject":
                return self._event("rejecting", seen.decision.summary)
            if seen.decision.generation not in {None, self.generation}:
                return self._event("moved", f"the registry is at generation {seen.decision.generation}")
            if seen.outcome == "release":
                self.started_at = seen_at  # the budgets count from the last PASS
        return await self._answer() or self._event("timed_out", "nobody answered in time")

    async def _answer(self) -> ApprovalEvent | None:
        """Return the answer if Airflow has one: it resumes a waiting task by itself, but not one that was busy just then."""
        try:
            detail = await sync_to_async(get_hitl_detail_content_detail)(ti_id=UUID(self.ti_id))
        except AirflowRuntimeError as error:  # the API server is away: it resumes the task itself when it is back
            self.log.warning("can't ask Airflow for the answer: %s", error)
            return None
        user = detail.responded_by_user
        if not detail.response_received or not detail.chosen_options or user is None:
            return None
        return {
            **self._event("answered", ""),
            "chosen_options": list(detail.chosen_options),
            "params_input": dict(detail.params_input or {}),
            "responded_by_user": {"id": user.id, "name": user.name},
        }

    def _event(self, status: Status, reason: str) -> ApprovalEvent:
        return ApprovalEvent(
            status=status,
            reason=reason,
            passed_at=self.started_at,
            chosen_options=[],
            params_input={},
            responded_by_user=None,
        )
