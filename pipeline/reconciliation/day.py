"""A day of the data's time zone: 23, 24 or 25 hours."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from model_release.errors import InvalidInputError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True)
class Day:
    """From the first instant of ``date`` in ``zone`` to the first of the next date."""

    date: dt.date
    zone: ZoneInfo

    @property
    def start(self) -> dt.datetime:
        """Its first instant, in UTC."""
        return self._begin(self.date)

    @property
    def end(self) -> dt.datetime:
        """The first instant after it, in UTC."""
        return self._begin(self.date + dt.timedelta(days=1))

    @property
    def seconds(self) -> int:
        """How long it is."""
        return round((self.end - self.start).total_seconds())

    @property
    def utc_days(self) -> list[dt.date]:
        """The UTC days that it touches, and the one after: an outcome may come in late."""
        first, last = self.start.date(), (self.end - dt.timedelta(microseconds=1)).date()
        return [first + dt.timedelta(days=number) for number in range((last - first).days + 2)]

    def over(self, now: dt.datetime) -> bool:
        """Whether it has ended."""
        return now >= self.end

    def _begin(self, date: dt.date) -> dt.datetime:
        """Return when ``date`` begins: where the clock skips midnight, at the first instant after it."""
        return dt.datetime.combine(date, dt.time(), self.zone).astimezone(dt.UTC)


def parse_date(text: str) -> dt.date:
    """Read a date of the command line or a form.

    Raises:
        InvalidInputError: it is none.
    """
    written = text.strip()
    try:
        found = dt.date.fromisoformat(written) if _DATE.fullmatch(written) else None
    except ValueError:
        found = None
    if found is None:  # fromisoformat reads other forms too
        raise InvalidInputError(f"{text!r} is not a date like 2026-01-12")
    return found


def newest_complete(moment: dt.datetime, zone: ZoneInfo) -> dt.date:
    """Return the last date that was over at ``moment``."""
    return moment.astimezone(zone).date() - dt.timedelta(days=1)
