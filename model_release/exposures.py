"""The exposure log: what was served, and what people then did.  One JSON object per line; version 1 of its schema.

A reader ignores fields that it does not know: a field may be added within a version.  A field that goes, or means
something else, makes a new version, which a reader of this one refuses.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationInfo, field_validator

from model_release.artifact import Frozen, RunId

SCHEMA_VERSION = 1
REQUEST_ID_PATTERN = r"^[A-Za-z0-9._:+-]{1,128}$"
OUTCOME_TYPE_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
FUTURE_TOLERANCE = dt.timedelta(minutes=5)  # clocks of phones differ from ours

Identifier = Annotated[str, Field(min_length=1, max_length=256)]
RequestId = Annotated[str, Field(pattern=REQUEST_ID_PATTERN)]
OutcomeType = Annotated[str, Field(pattern=OUTCOME_TYPE_PATTERN)]  # view, click, cart, purchase, or one of your own

_STAMP = "%Y%m%dT%H%M%SZ"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE_NAME = re.compile(r"([A-Za-z0-9_-]{1,64})\.(\d{1,5})\.(\d{8}T\d{6}Z)\.(\d{1,9})\.jsonl", re.ASCII)


class _Line(BaseModel):
    """What every line holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    schema_version: Literal[1]
    replica: str
    worker: Annotated[int, Field(ge=0)]  # slot of the worker process within its replica


class Exposure(_Line):
    """One answer that was given.

    ``release_id`` is the trial that was under way, also for those who got the current run meanwhile.
    """

    kind: Literal["exposure"]
    at: AwareDatetime
    request_id: RequestId
    endpoint: Literal["recommend", "similar"]
    id: Identifier
    k: Annotated[int, Field(ge=1)]
    run_id: RunId | None
    variant: Literal["current", "candidate", "degraded"]
    release_id: str | None
    generation: Annotated[int, Field(ge=0)]
    items: tuple[str, ...]
    known: bool
    degraded: str | None
    latency_ms: Annotated[float, Field(ge=0)]


class NewOutcome(Frozen):
    """What somebody did with an item, as ``POST /events`` takes it.

    The context ``{"now": datetime}`` of a validation refuses what lies more than ``FUTURE_TOLERANCE`` ahead of it.
    """

    at: AwareDatetime
    user: Identifier
    item: Identifier
    type: OutcomeType
    request_id: RequestId | None = None

    @field_validator("at")
    @classmethod
    def _likely(cls, at: dt.datetime, info: ValidationInfo) -> dt.datetime:
        if at.timestamp() < 0:
            raise ValueError(f"{at.isoformat()} lies before 1970")
        now: dt.datetime | None = info.context.get("now") if info.context else None
        if now is not None and at - now > FUTURE_TOLERANCE:
            raise ValueError(f"{at.isoformat()} lies in the future: it is {now.isoformat(timespec='seconds')}")
        return at


class Outcome(_Line):
    """What somebody did with an item, as the log keeps it."""

    kind: Literal["event"]
    at: AwareDatetime
    received_at: AwareDatetime
    user: Identifier
    item: Identifier
    type: OutcomeType
    request_id: RequestId | None = None


_LINE: TypeAdapter[Exposure | Outcome] = TypeAdapter(Annotated[Exposure | Outcome, Field(discriminator="kind")])


def parse(line: bytes) -> Exposure | Outcome:
    """Return what a complete line says.

    Raises:
        pydantic.ValidationError: it is damaged, or of a version that is not known here.
    """
    return _LINE.validate_json(line)


def complete(content: bytes) -> bytes:
    """Return the complete lines of a file: what a killed writer left of its last line never counts."""
    return content[: content.rfind(b"\n") + 1]


def timestamp(at: float) -> str:
    """Return Unix seconds as the log writes them: UTC, always six digits, so that texts sort as times do."""
    second = math.floor(at)
    millionths = min(round((at - second) * 1e6), 999_999)  # never the next second, which may be the next day
    return f"{_second(second)}.{millionths:06}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, order=True)
class FileName:
    """The name of a log file; sorts by ``start``.  All its lines are of the UTC day of ``start``."""

    start: dt.datetime
    replica: str
    worker: int
    number: int  # of the file within its process, 0 first

    def __str__(self) -> str:
        """Return ``<replica>.<worker>.<start>.<number>.jsonl``."""
        return f"{self.replica}.{self.worker}.{self.start:{_STAMP}}.{self.number}.jsonl"

    @property
    def day(self) -> dt.date:
        """The UTC day of its lines."""
        return self.start.date()

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return what a name says; None: the file is not one of the log's."""
        found = _FILE_NAME.fullmatch(name)
        if found is None:
            return None
        try:
            start = dt.datetime.strptime(found[3], _STAMP).replace(tzinfo=dt.UTC)
        except ValueError:
            return None
        return cls(start=start, replica=found[1], worker=int(found[2]), number=int(found[4]))


def safe_replica(replica: str) -> str:
    """Return a replica's name as file names hold it; different names stay different."""
    if _SAFE_NAME.fullmatch(replica):
        return replica
    digest = hashlib.sha256(replica.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', replica)[:50]}-{digest}"
