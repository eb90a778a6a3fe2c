"""A part of an answer that may be lacking alone: the rest is shown, and this part says why it is not there."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from model_release.artifact import Frozen

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
