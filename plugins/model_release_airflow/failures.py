"""Why a task failed, written to the ledger: the callback of every task of a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry
from model_release.phases import record
from model_release_airflow.context import Stores, actor, release_id_of

_LONGEST_REASON = 2000


class GateRejectedError(AirflowFailException):
    """The gate said no; it has written so itself."""


def record_failure(context: Mapping[str, Any]) -> None:
    """Write to the ledger that a task of a release failed, and why; ``on_failure_callback`` of our operators."""
    error = context.get("exception")
    if isinstance(error, GateRejectedError):
        return
    release_id = release_id_of(context, getattr(context["task"], "release_id", None))
    reason = f"{context['task'].task_id} failed: {error or 'killed, or marked as failed'}"
    entry = LedgerEntry(
        at=utc_now(),
        event=Event.FAILED,
        release_id=release_id,
        by=actor(context),
        reason=reason[:_LONGEST_REASON],
        details=_kind(error),
    )
    record(Stores.from_environment().ledger, entry)


def _kind(error: object) -> Mapping[str, Any]:
    """Return which error of ours an exception of Airflow's was raised from: what a message may depend on."""
    cause = error.__cause__ if isinstance(error, BaseException) else None
    return {"error": type(cause).__name__} if isinstance(cause, ModelReleaseError) else {}
