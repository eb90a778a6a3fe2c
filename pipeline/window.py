"""Which part of the log a run learns from, and which part it is judged on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from model_release.errors import InvalidInputError


@dataclass(frozen=True)
class Window:
    """Train on t < ``as_of``; test on ``as_of`` <= t < ``as_of`` + ``horizon_days``."""

    as_of: dt.datetime
    horizon_days: int

    def __post_init__(self) -> None:
        """Refuse a time without a zone.

        Raises:
            InvalidInputError: ``as_of`` has no time zone.
        """
        if self.as_of.tzinfo is None:
            raise InvalidInputError(f"as_of {self.as_of} has no time zone")

    @property
    def start(self) -> dt.datetime:
        """Beginning of the test window, inclusive."""
        return self.as_of

    @property
    def end(self) -> dt.datetime:
        """End of the test window, exclusive."""
        return self.as_of + dt.timedelta(days=self.horizon_days)

    def earlier(self, windows: int = 1) -> Window:
        """Return the window that ends ``windows - 1`` horizons before this one starts: for validation."""
        return Window(self.as_of - dt.timedelta(days=self.horizon_days * windows), self.horizon_days)


def parse_as_of(text: str, zone: dt.tzinfo) -> dt.datetime:
    """Read a date or a time from the command line or a form; midnight, and ``zone``, unless it says more.

    Raises:
        InvalidInputError: it is neither.
    """
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"as_of {text!r} is not a date like 2017-12-25 or a time like 2017-12-25T06:00+08:00"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def resolve_as_of(
    as_of: dt.datetime | None, *, first: dt.datetime, last: dt.datetime, horizon_days: int, zone: dt.tzinfo
) -> Window:
    """Return the window of a run.

    Args:
        as_of: training cutoff; None: the last midnight that leaves a whole horizon of data after it.
        first: time of the first row of the log.
        last: time of its last row.
        horizon_days: length of the test window.
        zone: where a day begins.

    Raises:
        InvalidInputError: nothing to train on before ``as_of``, or nothing to judge on after it.
    """
    if as_of is None:
        newest = (last - dt.timedelta(days=horizon_days)).astimezone(zone)
        as_of = newest.replace(hour=0, minute=0, second=0, microsecond=0)
    window = Window(as_of.astimezone(dt.UTC), horizon_days)
    if window.start <= first:
        raise InvalidInputError(
            f"as_of {as_of:%Y-%m-%d} leaves nothing to train on: the log begins {first:%Y-%m-%d %H:%M}"
        )
    if window.start > last:
        raise InvalidInputError(
            f"as_of {as_of:%Y-%m-%d} leaves nothing to judge on: the log ends {last:%Y-%m-%d %H:%M}"
        )
    return window
