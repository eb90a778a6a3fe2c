"""The newest reconciliation on disk: by the date in its name, never by the time of the file."""

from __future__ import annotations

import datetime as dt
import re

from pydantic import ValidationError

from model_release.errors import InvalidInputError
from model_release.evidence import Missing, Reconciliation
from model_release.explain import explain_all
from model_release.paths import ReleasePaths
from model_release.reconciling.document import Document
from model_release.versions import later_version

RECONCILIATION_BYTES = 4 << 20
_NAME = re.compile(r"reconciliation_([0-9][0-9-]*)\.json")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def newest_reconciliation(paths: ReleasePaths) -> dt.date | Missing:
    """Return the date of the newest reconciliation; Missing if there is none, or one with a date that is none."""
    dates = reconciliation_dates(paths)
    return dates if isinstance(dates, Missing) else dates[-1]


def reconciliation_dates(paths: ReleasePaths) -> list[dt.date] | Missing:
    """Return the dates of all reconciliations, oldest first; Missing if there is none, or one with a date that is none."""
    dates: list[dt.date] = []
    for path in sorted(paths.evaluation.glob("reconciliation_*.json")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            dates.append(_date(match[1]))
        except ValueError:
            return Missing(f"{path.name} names no date, so that the newest reconciliation is not known")
    return sorted(dates) if dates else Missing("there is no reconciliation_<date>.json yet")


def parse_reconciliation(data: bytes, date: dt.date) -> Reconciliation:
    """Parse the reconciliation of ``date``.

    Raises:
        InvalidInputError: it is too large, malformed, contradicts itself, or is of another date.
    """
    if len(data) > RECONCILIATION_BYTES:
        raise InvalidInputError(f"it has {len(data)} bytes, more than {RECONCILIATION_BYTES}")
    try:
        found = Reconciliation.model_validate_json(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        later = later_version(problems, Reconciliation)
        if later is not None:
            raise InvalidInputError(later) from error
        first = explain_all(problems[:1], Reconciliation)
        raise InvalidInputError(f"{error.error_count()} problems, first: {first}") from error
    if found.date != date:
        raise InvalidInputError(f"it is of {found.date}, not of the date in its name")
    return found


def read_reconciliation(paths: ReleasePaths, date: dt.date, *, whole: bool = False) -> Reconciliation | Missing:
    """Return the reconciliation of ``date``; ``whole``: as a ``Document`` if it is one of ours; Missing: it can't be read."""
    file = paths.reconciliation_of(date)
    try:
        data = file.read_bytes()
        found = parse_reconciliation(data, date)
    except (OSError, InvalidInputError) as error:
        return Missing(f"{file.name} can't be read: {error}")
    if not whole:
        return found
    try:
        return Document.model_validate_json(data)
    except ValidationError:  # somebody else's, or of a later version
        return found


def _date(text: str) -> dt.date:
    if not _DATE.fullmatch(text):  # fromisoformat reads other forms too
        raise ValueError(text)
    return dt.date.fromisoformat(text)
