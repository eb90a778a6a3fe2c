"""Decisions on disk: the last one of every release, ``data/evaluation/decisions/<release_id>.json``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from model_release.adapters.files import write_atomic
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.identifiers import check_release_id
from model_release.paths import ReleasePaths
from model_release.verdict import Decision


def decision_path(paths: ReleasePaths, release_id: str) -> Path:
    """Return where the decision of a release is kept; a release id holds no ``/`` and does not start with a dot.

    Raises:
        InvalidInputError: it is not a release id.
    """
    return paths.decisions / f"{check_release_id(release_id)}.json"


def write_decision(paths: ReleasePaths, decision: Decision) -> Path:
    """Keep ``decision`` as the last one of its release; return the file.

    Raises:
        InvalidInputError: it belongs to no release.
    """
    if decision.release_id is None:
        raise InvalidInputError("a decision without release_id can't be kept: nobody could find it again")
    path = decision_path(paths, decision.release_id)
    write_atomic(path, decision.model_dump_json(indent=2) + "\n")
    return path


def read_decision(paths: ReleasePaths, release_id: str) -> Decision | None:
    """Return the last decision of a release; None if there is none.

    Raises:
        InvalidInputError: it is not a release id.
        StateCorruptError: the file is damaged, or holds another release's decision.
    """
    path = decision_path(paths, release_id)
    try:
        decision = Decision.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StateCorruptError(f"{path} is not a valid decision: {error.error_count()} problems") from error
    if decision.release_id != release_id:
        raise StateCorruptError(f"{path} holds the decision of release {decision.release_id!r}")
    return decision
