"""What all parts of a policy share: strict models, names, slices, budgets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Iterable
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hours = Annotated[float, Field(gt=0, le=24 * 366 * 10)]
Minutes = Annotated[float, Field(ge=0, le=7 * 24 * 60)]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]
Users = Annotated[int, Field(ge=2)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]

RESERVED = ("latch", "artifact", "trial", "replicas")  # checks that are made whatever a policy says
ALL = "all"  # name of the slice that leaves nobody and nothing out


Entry = TypeVar("Entry", bound=Hashable)


def twice(entries: Iterable[Entry]) -> Entry | None:
    """Return the first entry that was there before; None if all differ."""
    seen: set[Entry] = set()
    for entry in entries:
        if entry in seen:
            return entry
        seen.add(entry)
    return None


class Strict(BaseModel):
    """Immutable; unknown keys, numbers in quotes, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CheckPolicy(Strict):
    """What all kinds of check have."""

    name: Name
    kind: str
    dry_run: bool = False
    severity: Literal["critical", "warning"] = "critical"

    @model_validator(mode="after")
    def _one_way_not_to_block(self) -> CheckPolicy:
        if self.name in RESERVED:
            raise ValueError(f"name {self.name!r} is that of a check that is always made; choose another")
        if self.dry_run and self.severity == "warning":
            raise ValueError("dry_run true and severity warning exclude each other: neither blocks, a warning is told")
        return self

    @property
    def blocks(self) -> bool:
        """Whether its verdict counts for the decision."""
        return not self.dry_run and self.severity == "critical"


class Slice(Strict):
    """A part of the users and of the items; the default is everybody and everything."""

    users: str = ALL
    items: str = ALL

    @property
    def label(self) -> str:
        """Name for people."""
        parts = [f"{part} {what}" for part, what in ((self.users, "users"), (self.items, "items")) if part != ALL]
        return ", ".join(parts) or ALL


class Limits(Strict):
    """One value between fixed limits; at least one of the two is given."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _limits(self) -> Limits:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least or at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: nothing could pass")
        return self


class Budgets(Strict):
    """How long a gate waits for evidence that may still come; then it rejects."""

    error_minutes: Minutes = 5.0
    inconclusive_minutes: Minutes = 30.0

    @property
    def error(self) -> dt.timedelta:
        """Longest wait while something can't be measured."""
        return dt.timedelta(minutes=self.error_minutes)

    @property
    def inconclusive(self) -> dt.timedelta:
        """Longest wait for more evidence."""
        return dt.timedelta(minutes=self.inconclusive_minutes)
