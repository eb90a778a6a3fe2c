"""Files of a later version: refused, in words that say what to do; docs/upgrades.md holds the table.

A file's version grows when an older program would misread it, or refuse it without saying why: with a new event, a new
field of a file that allows no unknown ones, or a field that means something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

KEY = "schema_version"


def versions_of(model: type[BaseModel]) -> tuple[int, ...]:
    """Return the versions that ``model`` reads, the last one being what it writes."""
    found: tuple[int, ...] = get_args(model.model_fields[KEY].annotation)
    return found


def later_version(problems: Sequence[Mapping[str, Any]], model: type[BaseModel] | None) -> str | None:
    """Return what to say of a document of a later version; None: its problems are others.

    Args:
        problems: pydantic's.
        model: what was read.
    """
    if model is None or KEY not in model.model_fields:
        return None
    known = max(versions_of(model))
    found = next((problem["input"] for problem in problems if problem["loc"] == (KEY,)), None)
    return too_new(found, known) if isinstance(found, int) and found > known else None


def too_new(found: int, known: int) -> str:
    """Return that a file is of version ``found`` while this program reads up to ``known``, and the way out."""
    return (
        f"{KEY} is {found}, this program reads up to {known}: a later version of Model Release wrote it; install that "
        "version again, or restore a backup from before the upgrade (docs/upgrades.md)"
    )
