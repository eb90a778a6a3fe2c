"""The HTTP contract of the recommendation API: what is sent, and what is answered.

The API and its clients share these models, so that neither can drift from the other.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from model_release.artifact import Frozen, RunId
from model_release.identifiers import RELEASE_ID_PATTERN, check_release_id


def _whole(value: object) -> object:
    """Take 3.0 for 3, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Mode = Literal["primary", "shadow", "canary"]
TRIED_ON = {"shadow": "requests", "canary": "users"}  # what the rollout of a trial is a share of
ReleaseId = Annotated[
    str, AfterValidator(check_release_id), WithJsonSchema({"type": "string", "pattern": RELEASE_ID_PATTERN})
]
Rollout = Annotated[float, Field(ge=0.0, le=1.0)]
Generation = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
LeaseSeconds = Annotated[int, Field(ge=1, le=7 * 24 * 3600), BeforeValidator(_whole)]

RELOAD_PATH = "/models/reload"
LEASE_PATH = "/models/lease"
MODELS_PATH = "/models"
EVENTS_PATH = "/events"

_PRIMARY: dict[str, Any] = {
    "mode": {"const": "primary"},
    "rollout": {"type": "null"},
    "lease_seconds": {"type": "null"},
}
_NO_RUN: dict[str, Any] = {"run_id": {"type": "null"}, "prepare": {"const": False}, "source": {"const": "models"}}
_RUN: dict[str, Any] = {"run_id": {"type": "string"}}
_TRIAL: dict[str, Any] = {"mode": {"enum": ["shadow", "canary"]}, "rollout": {"type": "number"}}
# what ReloadRequest._consistent asks for, in the words of JSON Schema
_RELOAD_SHAPES: dict[str, Any] = {
    "anyOf": [
        {"title": "What the registry desires", "properties": {**_PRIMARY, **_NO_RUN}},
        {"title": "A run for everybody", "properties": {**_PRIMARY, **_RUN}, "required": ["run_id"]},
        {"title": "A trial", "properties": {**_TRIAL, **_RUN}, "required": ["run_id", "mode", "rollout"]},
    ]
}


class ReloadRequest(Frozen):
    """Body of ``POST /models/reload``; an empty one means: serve what the registry desires.

    With ``generation`` the caller has committed that generation to the registry already and the replica only follows;
    without, and with a ``run_id``, the replica makes the commit itself.
    """

    model_config = ConfigDict(strict=True, json_schema_extra=_RELOAD_SHAPES)  # strict: "no" is not False

    run_id: RunId | None = None
    mode: Mode = "primary"
    rollout: Rollout | None = None
    generation: Generation | None = None
    release_id: ReleaseId | None = None
    lease_seconds: LeaseSeconds | None = None
    source: Literal["models", "staging"] = "models"
    prepare: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> ReloadRequest:
        trial = self.mode != "primary"
        if trial and self.run_id is None:
            raise ValueError(f"mode {self.mode!r} needs a run_id: say which run to try")
        if trial and self.rollout is None:
            raise ValueError(
                f"mode {self.mode!r} needs a rollout between 0 and 1: the share of {TRIED_ON[self.mode]} to try it on"
            )
        if not trial and self.rollout is not None:
            raise ValueError("rollout goes with mode 'shadow' or 'canary': mode 'primary' serves everybody")
        if not trial and self.lease_seconds is not None:
            raise ValueError("lease_seconds goes with mode 'shadow' or 'canary': a current run has no lease")
        if self.run_id is None and (self.prepare or self.source == "staging"):
            raise ValueError("prepare and source need a run_id: say which run")
        return self


class ReloadReceipt(BaseModel):
    """Answer 200 of ``POST /models/reload``: every worker of this replica now does what it says."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)  # unknown keys of a newer replica are no error

    status: Literal["serving", "prepared"]
    changed: bool
    mode: Mode
    run_id: RunId | None
    generation: Generation
    rollout: Rollout | None = None
    previous_run_id: RunId | None = None
    workers: Annotated[int, Field(ge=1)]
    message: str = ""


class LeaseRequest(Frozen):
    """Body of ``POST /models/lease``: the trial of ``release_id`` may go on for ``lease_seconds`` from now."""

    model_config = ConfigDict(strict=True)

    release_id: ReleaseId
    generation: Generation
    lease_seconds: LeaseSeconds


class LeaseReceipt(BaseModel):
    """Answer 200 of ``POST /models/lease``."""

    model_config = ConfigDict(frozen=True)

    release_id: ReleaseId
    run_id: RunId
    generation: Generation
    lease_until: AwareDatetime


class Trial(BaseModel):
    """A candidate as a worker, or the registry, has it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    run_id: RunId
    mode: Literal["shadow", "canary"]
    rollout: Rollout
    release_id: ReleaseId
    lease_until: AwareDatetime | None = None


class Desired(BaseModel):
    """What a replica reads from the registry."""

    model_config = ConfigDict(frozen=True)

    generation: Generation
    current: RunId | None
    candidate: Trial | None


class ObservedWorker(BaseModel):
    """What one worker of any service serves; a ``generation`` of None was not told."""

    model_config = ConfigDict(frozen=True)

    pid: int
    generation: Generation | None
    current: RunId | None
    candidate: Trial | None
    resident: tuple[RunId, ...] = ()
    loaded_at: AwareDatetime | None = None
    degraded: str | None = None  # why it does not serve all that is desired; None: nothing is known to be unusable


class WorkerReport(ObservedWorker):
    """What one worker process serves at this moment."""

    generation: Generation


class ObservedModels(BaseModel):
    """Desired and observed state of one replica of any service."""

    model_config = ConfigDict(frozen=True)

    replica: str
    desired: Desired | None  # None: the registry can't be read; see ``problem``
    problem: str | None = None
    workers_expected: Annotated[int, Field(ge=1)]
    workers: tuple[ObservedWorker, ...]
    reported_at: AwareDatetime


class ModelsReport(ObservedModels):
    """Answer of ``GET /models``: desired and observed state of one replica."""

    workers: tuple[WorkerReport, ...]


class Answer(BaseModel):
    """Answer of ``GET /recommend/{user_id}`` and ``GET /similar/{item_id}``."""

    model_config = ConfigDict(frozen=True)

    run_id: RunId | None
    variant: Literal["current", "candidate", "degraded"]
    items: tuple[str, ...]
    known: bool  # whether the run knows this user or item; unknown users get popular items
    degraded: str | None = None


class Problem(BaseModel):
    """An RFC 9457 problem document, ``application/problem+json``."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""


def utc_now() -> dt.datetime:
    """Return the time now, in UTC; the one place where a default clock comes from."""
    return dt.datetime.now(dt.UTC)


def utc_text(at: dt.datetime) -> str:
    """Return a time for people, to the second."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
