"""What a run artifact is: its manifest, and what a loaded one can answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from model_release.identifiers import check_run_id

MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.jsonl"

RunId = Annotated[str, AfterValidator(check_run_id)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Frozen(BaseModel):
    """Immutable, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(Frozen):
    """One data file of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class DataSnapshot(Frozen):
    """The data a run was trained on: everything strictly before ``as_of``."""

    source: str
    rows: Annotated[int, Field(gt=0)]
    users: Annotated[int, Field(gt=0)]
    items: Annotated[int, Field(gt=0)]
    first_timestamp: AwareDatetime
    last_timestamp: AwareDatetime
    content_sha256: Sha256


class Algorithm(Frozen):
    """How the run was made."""

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    seed: int


class ServingFormat(Frozen):
    """How the data files are laid out, so that the API can load any algorithm's run.

    ``ranked_lists`` version 1 is ``model_release/adapters/ranked_lists.py``.
    """

    format: Literal["ranked_lists"]
    version: Literal[1] = 1


class Manifest(Frozen):
    """``manifest.json``: everything about one run, and the hash of each of its files."""

    schema_version: Literal[1] = 1
    run_id: RunId
    created_at: AwareDatetime
    git_commit: str | None
    as_of: AwareDatetime
    algorithm: Algorithm
    data: DataSnapshot
    metrics: Mapping[str, float] = Field(default_factory=dict)
    serving: ServingFormat
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1)]

    def trained_inside(self, start: dt.datetime) -> bool:
        """Whether this run saw data at or after ``start``: then it can't be judged on a window that begins there."""
        return self.as_of > start


class GoldenRequest(Frozen):
    """A recorded request with the answer expected of this run: one line of ``golden.jsonl``."""

    endpoint: Literal["recommend", "similar"]
    id: str
    k: Annotated[int, Field(ge=1, le=1000)]
    expected: tuple[str, ...]


class ServedModel(Protocol):
    """A loaded run, whatever its serving format: what the API asks and the evaluation measures."""

    @property
    def depth(self) -> int:
        """Longest list that :meth:`recommend` can give."""

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        """Return at most ``k`` item ids, best first; None for a user this run does not know."""

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        """Return at most ``k`` item ids like ``item_id``, best first; None for an unknown item."""

    def popular(self, k: int) -> Sequence[str]:
        """Return the ``k`` most popular item ids: the answer for unknown users and in degraded mode."""
