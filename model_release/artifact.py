"""What a run artifact is: its manifest, and what a loaded one can answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from model_release import limits
from model_release.identifiers import RUN_ID_SCHEMA, check_run_id

MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.jsonl"

RunId = Annotated[str, AfterValidator(check_run_id), WithJsonSchema(RUN_ID_SCHEMA)]
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
    """Lists computed beforehand: any algorithm's run.  The files are those of ``model_release/adapters/ranked_lists.py``."""

    format: Literal["ranked_lists"]
    version: Literal[1] = 1


class FactorsFormat(Frozen):
    """Vectors that are scored at request time.  The files are those of ``model_release/adapters/factors.py``.

    Attributes:
        exclude_seen: whether what a user has had is never recommended; then the run holds who has had what.
        similarity: what makes items alike.
        depth: longest list that is answered.
    """

    format: Literal["factors"] = "factors"
    version: Literal[1] = 1
    exclude_seen: bool
    similarity: Literal["cosine", "inner_product"] = "cosine"
    depth: Annotated[int, Field(ge=1, le=limits.GOLDEN_K)] = 100


class ExternalFormat(Frozen):
    """Files that only somebody else's service can read: the recommendation API refuses the run."""

    format: Literal["external"] = "external"
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
    serving: Annotated[ServingFormat | FactorsFormat | ExternalFormat, Field(discriminator="format")]
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=limits.FILES)]

    @model_validator(mode="after")
    def _files_fit(self) -> Manifest:
        total = sum(entry.bytes for entry in self.files)
        if total > limits.RUN_BYTES:
            raise ValueError(f"its files have {total} bytes, allowed are {limits.RUN_BYTES}")
        if len({entry.name for entry in self.files}) != len(self.files):
            raise ValueError("it names a file twice")
        return self

    def trained_inside(self, start: dt.datetime) -> bool:
        """Whether this run saw data at or after ``start``: then it can't be judged on a window that begins there."""
        return self.as_of > start


class GoldenRequest(Frozen):
    """A recorded request with the answer expected of this run: one line of ``golden.jsonl``."""

    endpoint: Literal["recommend", "similar"]
    id: str
    k: Annotated[int, Field(ge=1, le=limits.GOLDEN_K)]
    expected: Annotated[tuple[str, ...], Field(max_length=limits.GOLDEN_K)]


@dataclass(frozen=True)
class FoundRun:
    """A run as it lies on disk.

    Attributes:
        run_id: its name.
        at: when it was published; of an unfinished one, the last write to it.
        size: bytes.
    """

    run_id: str
    at: dt.datetime
    size: int


class ServedModel(Protocol):
    """A loaded run, whatever its serving format: what the API asks and the evaluation measures."""

    @property
    def depth(self) -> int:
        """Longest list that :meth:`recommend` can give."""

    @property
    def blocking(self) -> bool:
        """Whether an answer takes a millisecond or more: then ask from a thread, not from an event loop."""

    def prefault(self) -> None:
        """Bring what is mapped into memory, so that no request waits for the disk; best called from a thread."""

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        """Return at most ``k`` item ids, best first; None for a user this run does not know."""

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        """Return at most ``k`` item ids like ``item_id``, best first; None for an unknown item."""

    def popular(self, k: int) -> Sequence[str]:
        """Return the ``k`` most popular item ids: the answer for unknown users and in degraded mode."""
