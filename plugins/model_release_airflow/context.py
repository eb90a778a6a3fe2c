"""From Airflow's context to the words of a release: which release, who, which files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from pydantic import TypeAdapter, ValidationError

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.errors import (
    AlertsUnavailableError,
    InvalidInputError,
    ModelReleaseError,
    ReplicaUnreachableError,
    StateBusyError,
)
from model_release.explain import explain
from model_release.identifiers import check_release_id, release_id_for
from model_release.paths import ReleasePaths

_Choice = TypeVar("_Choice")


@dataclass(frozen=True)
class Stores:
    """Registry, ledger and runs of this installation."""

    paths: ReleasePaths
    registry: FileRegistry
    ledger: FileLedger
    runs: RunStore

    @classmethod
    def from_environment(cls) -> Stores:
        """Open what ``MODEL_RELEASE_HOME`` names."""
        paths = ReleasePaths.from_environment()
        return cls(paths, FileRegistry(paths), FileLedger(paths), RunStore(paths))


def release_id_of(context: Mapping[str, Any], given: str | None = None) -> str:
    """Return the release that a task or a callback belongs to: ``given``, else that of the DAG run."""
    if given:
        return check_release_id(given)
    run_id = context.get("run_id") or context["dag_run"].run_id
    return release_id_for(context["dag"].dag_id, run_id)


def asked_at(context: Mapping[str, Any]) -> dt.datetime:
    """Return when the DAG run was asked for.

    UI, REST, command line and assets set ``run_after`` to the time of the trigger unless a later one was asked for;
    waiting in the queue, a retry and a clear leave it as it is.
    """
    at: dt.datetime = context["dag_run"].run_after
    return at


def actor(context: Mapping[str, Any]) -> str:
    """Return who does something, for the ledger: the task, and the person who started its DAG run if there is one."""
    task = context.get("task")
    where = f"{context['dag'].dag_id}/{task.task_id}" if task is not None else context["dag"].dag_id
    person = getattr(context.get("dag_run"), "triggering_user_name", None)
    return f"airflow:{where}" + (f" ({person})" if person else "")


def started_by_person(context: Mapping[str, Any]) -> bool:
    """Whether a person started the DAG run: no schedule, asset, backfill or other DAG, whoever started that one."""
    run = context["dag_run"]
    kind = getattr(run, "run_type", "manual")
    return getattr(kind, "value", kind) == "manual" and bool(getattr(run, "triggering_user_name", None))


@contextmanager
def decisions_fail() -> Iterator[None]:
    """Let outages pass, so that the task is tried again, and turn every decision into a failure at once."""
    try:
        yield
    except (ReplicaUnreachableError, StateBusyError, AlertsUnavailableError) as error:
        raise AirflowException("; ".join([str(error), *getattr(error, "__notes__", [])])) from error
    except ModelReleaseError as error:
        notes = getattr(error, "__notes__", [])
        raise AirflowFailException("; ".join([f"{type(error).__name__}: {error}", *notes])) from error


def optional_text(value: object) -> str | None:
    """Read a templated field that may be empty: Jinja renders None as ``None``."""
    text = "" if value is None else str(value).strip()
    return None if text in {"", "None"} else text


def optional_number(value: object) -> float | None:
    """Read a templated field that holds a number or nothing.

    Raises:
        AirflowFailException: it holds something else.
    """
    text = optional_text(value)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise AirflowFailException(f"{text!r} is not a number") from error


def yes_or_no(value: object) -> bool:
    """Read a templated field that holds true or false.

    Raises:
        AirflowFailException: it holds something else.
    """
    match str(value).strip().lower():
        case "true":
            return True
        case "false" | "none" | "":
            return False
        case other:
            raise AirflowFailException(f"{other!r} is neither true nor false")


def pass_over_unless(pairs: Iterable[tuple[object, object]]) -> None:
    """Skip the task unless each value is, as text, what it must be.

    Raises:
        AirflowSkipException: one is not.
    """
    for value, wanted in pairs:
        if str(value).lower() != str(wanted).lower():
            raise AirflowSkipException(f"only if {value} were {wanted}: passed over")


def one_of(kind: TypeAdapter[_Choice], name: str, value: object) -> _Choice:
    """Return ``value`` if ``kind`` allows it for the field ``name``.

    Raises:
        InvalidInputError: it does not.
    """
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise InvalidInputError(explain(error, place=lambda _: name)) from error
