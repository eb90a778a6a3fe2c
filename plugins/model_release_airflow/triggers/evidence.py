"""Wait until the files that a gate judges from change; only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release.adapters.evidence_files import fingerprint
from model_release.errors import InvalidInputError
from model_release.paths import ReleasePaths
from model_release_airflow.triggers.fleet import MINIMUM_LIFE_SECONDS


class EvidenceEvent(TypedDict):
    """Why it is worth judging again; the worker does that."""

    status: Literal["changed", "timed_out"]
    started_at: float


def parse_evidence_event(event: dict[str, Any] | None) -> EvidenceEvent:
    """Return the event of an :class:`EvidenceTrigger`.

    Raises:
        InvalidInputError: it is none.
    """
    if event is None or event.get("status") not in {"changed", "timed_out"} or "started_at" not in event:
        raise InvalidInputError(f"unknown event from the triggerer: {event!r}")
    return EvidenceEvent(status=event["status"], started_at=float(event["started_at"]))


class EvidenceTrigger(BaseTrigger):
    """Look at names, sizes and times of the evidence until they differ from what was judged, or the deadline passes.

    :param run_id: The run that is judged.
    :param known: Fingerprint of the files that were judged last.
    :param started_at: Unix time when the gate began to wait; comes back in the event.
    :param poll_seconds: Pause between two looks.
    :param deadline: Unix time when the wait ends.
    """

    def __init__(self, *, run_id: str, known: str, started_at: float, poll_seconds: float, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.known = known
        self.started_at = started_at
        self.poll_seconds = poll_seconds
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        return (
            "model_release_airflow.triggers.evidence.EvidenceTrigger",
            {
                "run_id": self.run_id,
                "known": self.known,
                "started_at": self.started_at,
                "poll_seconds": self.poll_seconds,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        paths = ReleasePaths.from_environment()
        earliest = time.time() + MINIMUM_LIFE_SECONDS
        status: Literal["changed", "timed_out"] = "timed_out"
        while time.time() < self.deadline:
            await asyncio.sleep(min(self.poll_seconds, max(0.1, self.deadline - time.time())))
            if await asyncio.to_thread(fingerprint, paths, self.run_id) != self.known:
                status = "changed"
                break
        await asyncio.sleep(max(0.0, earliest - time.time()))
        yield TriggerEvent(dict(EvidenceEvent(status=status, started_at=self.started_at)))  # type: ignore[no-untyped-call]
