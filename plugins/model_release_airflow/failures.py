"""Why a task failed, written to the ledger: the callback of every task of a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry
from model_release.phases import record
from model_release.reconcile_state import Fact
from model_release.standing import closed, opened
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


def record_failed_work(subject: str, context: Mapping[str, Any]) -> None:
    """Write to the ledger that a task without a release failed, as a fact about ``subject``, unless that stands there."""
    stores = Stores.from_environment()
    error = context.get("exception") or "killed, or marked as failed"
    fact = Fact(subject, "failed", f"{context['task'].task_id} failed: {error}"[:_LONGEST_REASON])
    for entry in opened(stores.ledger.read(), [fact], generation=None, **_origin(context)):
        stores.ledger.append(entry)


def record_working_again(subject: str, context: Mapping[str, Any]) -> None:
    """Write to the ledger that ``subject`` does not fail any more, if it did."""
    stores = Stores.from_environment()
    for entry in closed(stores.ledger.read(), subject, **_origin(context)):
        stores.ledger.append(entry)


def failed_work(subject: str) -> Callable[[Mapping[str, Any]], None]:
    """Return an ``on_failure_callback`` that calls :func:`record_failed_work`."""

    def record_it(context: Mapping[str, Any]) -> None:
        record_failed_work(subject, context)

    return record_it


def working_again(subject: str) -> Callable[[Mapping[str, Any]], None]:
    """Return an ``on_success_callback`` that calls :func:`record_working_again`."""

    def record_it(context: Mapping[str, Any]) -> None:
        record_working_again(subject, context)

    return record_it


def _origin(context: Mapping[str, Any]) -> dict[str, Any]:
    return {"release_id": release_id_of(context), "by": actor(context), "at": utc_now()}


def _kind(error: object) -> Mapping[str, Any]:
    """Return which error of ours an exception of Airflow's was raised from: what a message may depend on."""
    cause = error.__cause__ if isinstance(error, BaseException) else None
    return {"error": type(cause).__name__} if isinstance(cause, ModelReleaseError) else {}
