"""A part of an answer that may be lacking alone: the rest is shown, and this part says why it is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from model_release.artifact import Frozen
from model_release.errors import (
    AlertsUnavailableError,
    ConfigurationError,
    EvidenceError,
    InvalidInputError,
    ModelReleaseError,
    ReplicaUnreachableError,
    RunNotFoundError,
    StateBusyError,
)

Data = TypeVar("Data")
Lack = Literal["missing", "unreachable", "broken"]


class Part(Frozen, Generic[Data]):
    """``ok`` with data; ``missing``: it is not there, or not configured; ``unreachable``: an outage; ``broken``: damaged."""

    state: Literal["ok", "missing", "unreachable", "broken"]
    why: str = ""
    data: Data | None = None


def there(data: Data) -> Part[Data]:
    """Return a part that is there."""
    return Part(state="ok", data=data)


def lacking(state: Lack, why: object) -> Part[Data]:
    """Return a part that is not there, and why."""
    return Part(state=state, why=str(why))


def attempt(read: Callable[[], Data]) -> Part[Data]:
    """Return what ``read`` gives, or which of its errors is in the way.

    Raises:
        InvalidInputError: what was asked for is wrong, which is no part's fault; a configuration is.
    """
    try:
        return there(read())
    except (ModelReleaseError, OSError) as error:
        if isinstance(error, InvalidInputError) and not isinstance(error, ConfigurationError):
            raise
        return lack_of(error)


def lack_of(error: ModelReleaseError | OSError) -> Part[Data]:
    """Return the part that an error left: a configuration that is missing, an outage, or damage."""
    match error:
        case ConfigurationError() | RunNotFoundError():
            return lacking("missing", error)
        case ReplicaUnreachableError() | AlertsUnavailableError() | EvidenceError() | StateBusyError():
            return lacking("unreachable", error)
        case _:
            return lacking("broken", error)
