"""Which part of the log a run learns from, and which part it is judged on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from model_release.errors import InvalidInputError


@dataclass(frozen=True)
class Window:
    """Train on t < ``as_of``; test on ``as_of`` <= t < ``as_of`` + ``horizon_days`` of 24 hours.

    ``as_of`` is in the zone of the data, in which its days are named; ``start`` and ``end`` are the instants, in UTC.
    """

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
        return self.as_of.astimezone(dt.UTC)

    @property
    def end(self) -> dt.datetime:
        """End of the test window, exclusive."""
        return self.start + dt.timedelta(days=self.horizon_days)

    def local(self, moment: dt.datetime) -> dt.datetime:
        """Return ``moment`` in the zone of the data: for people, and for files that they read."""
        return moment.astimezone(self.as_of.tzinfo)

    def earlier(self, windows: int = 1) -> Window:
        """Return the window that ends ``windows - 1`` horizons before this one starts: for validation."""
        start = self.start - dt.timedelta(days=self.horizon_days * windows)
        return Window(self.local(start), self.horizon_days)


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
        zone: where a day begins, and in which the window's days are named.

    Raises:
        InvalidInputError: nothing to train on before ``as_of``, or nothing to judge on after it.
    """
    if as_of is None:
        newest = (last - dt.timedelta(days=horizon_days)).astimezone(zone)
        as_of = newest.replace(hour=0, minute=0, second=0, microsecond=0)
    window = Window(as_of.astimezone(zone), horizon_days)
    if window.start <= first:
        raise InvalidInputError(
            f"as_of {window.as_of:%Y-%m-%d} leaves nothing to train on: the log begins {minute(first, zone)}"
        )
    if window.start > last:
        raise InvalidInputError(
            f"as_of {window.as_of:%Y-%m-%d} leaves nothing to judge on: the log ends {minute(last, zone)}"
        )
    return window


def minute(moment: dt.datetime, zone: dt.tzinfo | None = None) -> str:
    """Return ``moment`` for people, to the minute and with its offset; in ``zone``, if there is one."""
    local = moment if zone is None else moment.astimezone(zone)
    return local.isoformat(sep=" ", timespec="minutes")
