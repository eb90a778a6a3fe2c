"""What the end of a DAG run means for the release in it: from Airflow's word and what the tasks left behind.

A green DAG run is no release: a gate may have passed the rest over, and a leaf that always runs hides failures.  Only
what the task that closes the release found in the ledger counts, and only where Airflow agrees.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, assert_never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_release.artifact import RunId
from model_release.contract import Mode
from model_release.phases import Phase
from model_release.verdict import Decision

REJECTION_KEY = "rejection"  # the XCom of a gate that said no: its decision
VALUE_KEY = "return_value"  # Airflow's name of the XCom that holds what a task returned
ENDED = frozenset({"success", "failed"})  # states of a DAG run that do not change by themselves


class Result(enum.IntEnum):
    """How it ended; the number is the exit status of the command that followed it."""

    RELEASED = 0
    FAILED = 1
    CONFIGURATION = 2
    REJECTED = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class _Left(BaseModel):
    """Something that a task left as an XCom; a newer DAG may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Closing(_Left):
    """What ``ReleaseCloseOperator`` returns."""

    release_id: str
    phase: Phase


class Receipt(_Left):
    """What ``ModelReloadOperator`` returns."""

    run_id: RunId
    mode: Mode
    generation: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Ended:
    """Everything a DAG run left behind, each in the order in which the tasks ended.

    Attributes:
        state: Airflow's word.
        failed_tasks: names of the tasks that failed.
        closings: what the tasks that close a release say.
        receipts: what was made to serve, last the newest.
        passed: the gates' decisions to go on.
        rejected: the gates' decisions to stop.
    """

    state: str
    failed_tasks: tuple[str, ...] = ()
    closings: tuple[Closing, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    passed: tuple[Decision, ...] = ()
    rejected: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Ending:
    """What it means: ``reason`` for people; ``serving`` is what has to be served now, None: nothing was changed."""

    result: Result
    reason: str
    serving: Receipt | None = None
    release_id: str | None = None


def read_ended(state: str, failed_tasks: Iterable[str], left: Iterable[tuple[str, Any]]) -> Ended:
    """Sort what tasks left behind: pairs of an XCom's key and its value; what is none of ours is passed over."""
    values: list[Any] = []
    stopped: list[Any] = []
    for key, value in left:
        (stopped if key == REJECTION_KEY else values).append(value)
    return Ended(
        state=state,
        failed_tasks=tuple(failed_tasks),
        closings=_all(Closing, values),
        receipts=_all(Receipt, values),
        passed=tuple(decision for decision in _all(Decision, values) if decision.released),
        rejected=_all(Decision, stopped),
    )


def ending(ended: Ended, *, mode: Mode, dry_run: bool) -> Ending:
    """Return what the end of a DAG run means that was asked for a release in ``mode``, or for a ``dry_run``."""
    if len(ended.closings) != 1:
        return _failed(ended, f"{len(ended.closings)} tasks say how the release ended, not one")
    (closing,) = ended.closings
    match closing.phase:
        case Phase.VERIFIED:
            return _released(ended, closing, mode)
        case Phase.PASSED:
            return _passed(ended, closing, dry_run=dry_run)
        case Phase.REJECTED:
            return Ending(Result.REJECTED, _why(ended), release_id=closing.release_id)
        case Phase.PUT_BACK:
            return _put_back(ended, closing)
        case Phase.OPEN | Phase.FAILED | Phase.COMMITTED | Phase.PROVED:
            return _failed(ended, f"the release ended {closing.phase}", closing)
        case phase:
            assert_never(phase)


def _released(ended: Ended, closing: Closing, mode: Mode) -> Ending:
    if ended.state != "success":
        return _failed(ended, "a run was verified, and then something failed", closing)
    if not ended.receipts or ended.receipts[-1].mode != mode:
        return _failed(ended, f"no task says which run it made {mode}", closing)
    serving = ended.receipts[-1]
    said = "is released" if mode == "primary" else f"is on trial ({mode})"
    reason = f"run {serving.run_id} {said}, generation {serving.generation}"
    return Ending(Result.RELEASED, reason, serving=serving, release_id=closing.release_id)


def _passed(ended: Ended, closing: Closing, *, dry_run: bool) -> Ending:
    if not dry_run or ended.state != "success" or not ended.passed:
        return _failed(ended, "the gate passed it, and it was not released", closing)
    reason = f"the gate passed run {ended.passed[-1].run_id}, every replica could serve it; nothing is changed"
    return Ending(Result.RELEASED, reason, release_id=closing.release_id)


def _put_back(ended: Ended, closing: Closing) -> Ending:
    if ended.rejected:
        return Ending(Result.REJECTED, f"on trial: {_why(ended)}", release_id=closing.release_id)
    return _failed(ended, "the run from before was put back", closing)


def _failed(ended: Ended, reason: str, closing: Closing | None = None) -> Ending:
    tasks = f"; failed tasks: {', '.join(ended.failed_tasks)}" if ended.failed_tasks else ""
    said = f"{reason}; Airflow says {ended.state}{tasks}"
    return Ending(Result.FAILED, said, release_id=closing.release_id if closing else None)


def _why(ended: Ended) -> str:
    return ended.rejected[-1].summary if ended.rejected else "the gate left no decision; the ledger has it"


_Kind = TypeVar("_Kind", bound=BaseModel)


def _all(kind: type[_Kind], values: Iterable[Any]) -> tuple[_Kind, ...]:
    found = []
    for value in values:
        if isinstance(value, Mapping):
            try:
                found.append(kind.model_validate(value))
            except ValidationError:
                continue  # another task's value
    return tuple(found)
