"""Decisions on disk: the last one of every release, ``data/evaluation/decisions/<release_id>.json``.

The last one of each stage lies in a folder of its own, ``decisions/<stage>/<release_id>.json``: a release id may end in
``.online``, so that a suffix could be another release's name.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from model_release.adapters.files import write_atomic
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.identifiers import check_release_id
from model_release.paths import ReleasePaths
from model_release.policy import Stage
from model_release.verdict import Decision


def decision_path(paths: ReleasePaths, release_id: str, stage: Stage | None = None) -> Path:
    """Return where the decision of a release is kept; a release id holds no ``/`` and does not start with a dot.

    ``stage``: that of this stage; None: the last one of any stage.

    Raises:
        InvalidInputError: it is not a release id.
    """
    folder = paths.decisions if stage is None else paths.decisions / stage
    return folder / f"{check_release_id(release_id)}.json"


def write_decision(paths: ReleasePaths, decision: Decision) -> Path:
    """Keep ``decision`` as the last one of its release, and of its stage; return the file of the release.

    Raises:
        InvalidInputError: it belongs to no release.
    """
    if decision.release_id is None:
        raise InvalidInputError("a decision without release_id can't be kept: nobody could find it again")
    text = decision.model_dump_json(indent=2) + "\n"
    write_atomic(decision_path(paths, decision.release_id, decision.stage), text)
    path = decision_path(paths, decision.release_id)
    write_atomic(path, text)
    return path


def read_decision(paths: ReleasePaths, release_id: str, stage: Stage | None = None) -> Decision | None:
    """Return the last decision of a release, of ``stage`` if one is given; None if there is none.

    Raises:
        InvalidInputError: it is not a release id.
        StateCorruptError: the file is damaged, or holds another release's decision.
    """
    path = decision_path(paths, release_id, stage)
    try:
        decision = Decision.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StateCorruptError(f"{path} is not a valid decision: {error.error_count()} problems") from error
    if decision.release_id != release_id or stage not in {None, decision.stage}:
        raise StateCorruptError(f"{path} holds the {decision.stage} decision of release {decision.release_id!r}")
    return decision
