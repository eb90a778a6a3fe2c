"""The means per slice of an evaluation, for people; the gate judges by the values per user."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from model_release.adapters.per_user_values import SUMMARY_NAME
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.page.slices import SliceMeans
from model_release.paths import ReleasePaths
from model_release.policy import ALL


class _Sides(BaseModel):
    """The means of both runs over everybody, or over a slice of ``users``."""

    model_config = ConfigDict(frozen=True)

    candidate: Mapping[str, float | None]
    current: Mapping[str, float | None] | None = None


class _Part(_Sides):
    users: int


class _Summary(BaseModel):
    """The keys of ``summary.json`` that are shown."""

    model_config = ConfigDict(frozen=True)

    users: int
    metrics: _Sides
    slices: Mapping[str, _Part]


def read_slice_means(paths: ReleasePaths, run_id: str, sha256: str | None) -> dict[str, SliceMeans]:
    """Return the means of everybody (``all``) and of each slice, as a decision on ``run_id`` found them.

    Args:
        paths: the installation.
        run_id: the run that was evaluated.
        sha256: of ``summary.json`` when the decision was made; None: it read none.

    Raises:
        InvalidInputError: it is not there, or was written again since, so that its means are others.
        StateCorruptError: it is damaged.
    """
    path = paths.evaluation_of(run_id) / SUMMARY_NAME
    name = f"{run_id}/{SUMMARY_NAME}"
    if sha256 is None:
        raise InvalidInputError("the decision read no evaluation")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{name} can't be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InvalidInputError(f"{name} was written again since the decision: its means are others")
    try:
        found = _Summary.model_validate_json(data)
    except ValidationError as error:
        raise StateCorruptError(f"{name} is no evaluation: {error.error_count()} problems") from error
    everybody = _Part(users=found.users, **found.metrics.model_dump())
    return {label: SliceMeans(**part.model_dump()) for label, part in {ALL: everybody, **found.slices}.items()}
