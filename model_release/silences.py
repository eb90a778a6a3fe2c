"""Silences of Alertmanager: what one says, and whether it is ours and about one alert."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

OWNER = "model-release"  # createdBy of every silence that nobody but this project set
LONGEST = dt.timedelta(hours=24)


@dataclass(frozen=True)
class Silence:
    """A silence as Alertmanager has it.

    Attributes:
        id: Alertmanager's name of it.
        labels: what it silences, where all its matchers are equalities; None: some are not.
        created_by: whose it is.
        state: ``pending`` until it starts, ``expired`` after its end.
    """

    id: str
    labels: Mapping[str, str] | None
    created_by: str
    comment: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    state: Literal["active", "pending", "expired"]


@dataclass(frozen=True)
class Wanted:
    """A silence to set, or, with the ``id`` of one that is active, to extend.

    To extend it, ``labels`` and ``starts_at`` must be what they are: else Alertmanager ends it and makes another one.
    """

    labels: Mapping[str, str]
    created_by: str
    comment: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    id: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would silence too much, or for too long.

        Raises:
            ValueError: it names no label, nobody or no reason, or its end is not within 24 hours of its start.
        """
        if not self.labels or not all(self.labels.values()):
            raise ValueError(f"a silence needs labels with values, these are {dict(self.labels)}")
        if not self.created_by.strip() or not self.comment.strip():
            raise ValueError("a silence needs an owner and a reason")
        if not dt.timedelta() < self.ends_at - self.starts_at <= LONGEST:
            raise ValueError(f"a silence from {self.starts_at} to {self.ends_at}: it lasts at most {LONGEST}")


def active_of(silences: Iterable[Silence], labels: Mapping[str, str], created_by: str) -> list[Silence]:
    """Return the active silences of one owner for exactly one alert, the one to keep first."""
    found = [
        silence
        for silence in silences
        if silence.state == "active" and silence.created_by == created_by and silence.labels == labels
    ]
    return sorted(found, key=lambda silence: (silence.starts_at, silence.id))


def extended(silence: Silence, *, ends_at: dt.datetime, comment: str | None = None) -> Wanted | None:
    """Return ``silence`` with a later end, never beyond 24 hours after its start; None: it ends as late already."""
    until = min(ends_at, silence.starts_at + LONGEST)
    if silence.labels is None or until <= silence.ends_at:
        return None
    return Wanted(
        labels=silence.labels,
        created_by=silence.created_by,
        comment=silence.comment if comment is None else comment,
        starts_at=silence.starts_at,
        ends_at=until,
        id=silence.id,
    )
