"""Wait until what a gate judges from before a trial changes: its files, and what alerts say; only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from model_release.adapters.evidence_files import fingerprint
from model_release.errors import InvalidInputError, ModelReleaseError
from model_release.paths import ReleasePaths
from model_release_airflow.look import Asked, look_at_alerts
from model_release_airflow.shared import EVIDENCE, Pace, outlive_deferral, pause


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
    """Look at the evidence until it differs from what was judged, or the deadline passes.

    Of files only names, sizes and times are looked at.  Alerts come from no file: where the policy has checks of them,
    those are made again at every look, and less often while Alertmanager does not answer: it has troubles enough.  Gates that
    wait side by side share the looks at the files of a run, and the question to Alertmanager where they have the same policy.

    :param run_id: The run that is judged.
    :param release_id: The release that it is judged for.
    :param policy: The policy file; None: the default one.
    :param alerts: Verdicts of the policy's ``alerts`` checks when it was judged last; none: Alertmanager is not asked.
    :param known: Fingerprint of the files that were judged last.
    :param started_at: Unix time when the gate began to wait; comes back in the event.
    :param poll_seconds: Pause between two looks.
    :param deadline: Unix time when the wait ends.
    """

    def __init__(
        self,
        *,
        run_id: str,
        release_id: str,
        policy: str | None,
        alerts: list[str],
        known: str,
        started_at: float,
        poll_seconds: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.release_id = release_id
        self.policy = policy
        self.alerts = alerts
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
                "release_id": self.release_id,
                "policy": self.policy,
                "alerts": self.alerts,
                "known": self.known,
                "started_at": self.started_at,
                "poll_seconds": self.poll_seconds,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, when the wait is over."""
        paths = ReleasePaths.from_environment()
        began = time.time()
        status: Literal["changed", "timed_out"] = "timed_out"
        pace, seconds = Pace(self.poll_seconds), pause(self.poll_seconds, first=True)
        while time.time() < self.deadline:
            await asyncio.sleep(min(seconds, max(0.1, self.deadline - time.time())))
            seconds = pause(self.poll_seconds)
            if await self._changed(paths, pace):
                status = "changed"
                break
        await outlive_deferral(began)
        yield TriggerEvent(dict(EvidenceEvent(status=status, started_at=self.started_at)))  # type: ignore[no-untyped-call]

    async def _changed(self, paths: ReleasePaths, pace: Pace) -> bool:
        found = await EVIDENCE.ask_in_thread(
            ("fingerprint", paths.root, self.run_id), self.poll_seconds, lambda: fingerprint(paths, self.run_id)
        )
        if found != self.known:
            return True
        if not self.alerts or not pace.due(time.monotonic()):
            return False
        asked = Asked(self.run_id, self.release_id, "offline", self.policy)
        try:  # what alerts say depends on the policy's matchers, not on the run
            seen = await EVIDENCE.ask_in_thread(
                ("alerts", paths.root, self.policy), self.poll_seconds, lambda: look_at_alerts(asked)
            )
        except ModelReleaseError as error:  # a policy that is being written, for example
            self.log.warning("can't look at alerts: %s", error)
            return False
        pace.note(time.monotonic(), answered=seen.answered)
        return seen.verdicts != self.alerts
