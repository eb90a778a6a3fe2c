"""Decisions on disk, below ``data/evaluation/decisions/``.

``<release_id>.json`` is the last decision of a release, of whichever stage; ``offline/<release_id>.json`` and
``online/<release_id>.json`` are the last ones of each stage.  A stage's file is written first: a reader of the last
decision that goes on to the stage's own one finds it there.
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
from model_release.versions import later_version


def decision_path(paths: ReleasePaths, release_id: str, stage: Stage | None = None) -> Path:
    """Return where the last decision of a release is kept: of one stage, or, without it, of any.

    A release id holds no ``/`` and does not start with a dot.

    Raises:
        InvalidInputError: it is not a release id.
    """
    folder = paths.decisions if stage is None else paths.decisions / stage
    return folder / f"{check_release_id(release_id)}.json"


def write_decision(paths: ReleasePaths, decision: Decision) -> Path:
    """Keep ``decision`` as the last one of its release and of its stage; return the release's file.

    Raises:
        InvalidInputError: it belongs to no release.
    """
    if decision.release_id is None:
        raise InvalidInputError("a decision without release_id can't be kept: nobody could find it again")
    path = decision_path(paths, decision.release_id)
    content = decision.model_dump_json(indent=2) + "\n"
    write_atomic(decision_path(paths, decision.release_id, decision.stage), content)
    write_atomic(path, content)
    return path


def read_decision(paths: ReleasePaths, release_id: str, stage: Stage | None = None) -> Decision | None:
    """Return the last decision of a release, of one stage or of any; None if there is none.

    Raises:
        InvalidInputError: it is not a release id.
        StateCorruptError: the file is damaged, or holds another release's or stage's decision.
    """
    path = decision_path(paths, release_id, stage)
    try:
        decision = Decision.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        later = later_version(error.errors(include_url=False), Decision)
        problem = f": {later}" if later else f" is not a valid decision: {error.error_count()} problems"
        raise StateCorruptError(f"{path}{problem}") from error
    if decision.release_id != release_id:
        raise StateCorruptError(f"{path} holds the decision of release {decision.release_id!r}")
    if stage is not None and decision.stage != stage:
        raise StateCorruptError(f"{path} holds a decision of stage {decision.stage!r}")
    return decision
