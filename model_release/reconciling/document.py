"""``data/evaluation/reconciliation_<date>.json`` as it is written; docs/reference/reconciliation-file.md explains it.

The gate reads the five keys of ``model_release.evidence.Reconciliation``; everything else says why they are what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from model_release.evidence import Reconciliation
from model_release.policy import Tolerance

DAILY_METRICS = ("hit_rate_at_10", "recall_at_10", "recall_at_20")

Count = Annotated[int, Field(ge=0)]
PartStatus = Literal["agrees", "differs", "missing", "not_asked"]
Result = Literal["kept", "broken", "unclear", "too_few_users", "not_comparable"]
Variant = Literal["current", "candidate", "degraded"]


class _Part(BaseModel):
    """What every part of the document is: frozen, complete, and without NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LogFacts(_Part):
    """What the exposure log of the day holds; answers and outcomes are those of the day itself."""

    files: Count
    replicas: tuple[str, ...]
    gaps: tuple[str, ...]
    answers: Count
    outcomes: Count
    unreadable_files: Count
    unreadable_lines: Count


class TakenFacts(_Part):
    """What people did that day; a source that is null was not there."""

    used: tuple[Literal["interactions", "events"], ...]
    interactions: Count | None
    events: Count | None
    users: Count
    newest_interaction: AwareDatetime | None


class Measured(_Part):
    """One metric of one run and variant: what was seen, what was promised, and whether it was kept."""

    users: Count
    mean: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    promised: float | None
    promised_standard_error: float | None
    floor: float | None
    result: Result
    reason: str


class RunFacts(_Part):
    """What one run showed as one variant, and what came of it."""

    run_id: str | None
    variant: Variant
    answers: Count
    similar_answers: Count
    users: Count
    first_at: AwareDatetime
    last_at: AwareDatetime
    followed_users: Count
    items_shown: Count
    catalogue_items: Count | None
    coverage: float | None
    promised_coverage: float | None
    metrics: Mapping[str, Measured]
    not_comparable: tuple[str, ...]


class Stint(_Part):
    """A time in which the ledger had a run as current, within the day; ``until`` null: beyond it."""

    run_id: str | None
    generation: int
    since: AwareDatetime
    until: AwareDatetime | None


class Compared(_Part):
    """Whether two tellings of the same day agree."""

    status: PartStatus
    problems: tuple[str, ...] = ()
    reason: str = ""


class Serving(Compared):
    """The ledger against the runs that the answers name."""

    stints: tuple[Stint, ...] = ()


class Counted(Compared):
    """The exposure log against the counters in Prometheus, which estimates what they grew by."""

    answers: float | None = None
    exposures: float | None = None
    dropped: float | None = None


class Document(Reconciliation):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    complete: bool
    zone: str
    window_start: AwareDatetime
    window_end: AwareDatetime
    tolerance: Tolerance
    log: LogFacts
    taken: TakenFacts
    runs: tuple[RunFacts, ...]
    serving: Serving
    registry: Compared
    replicas: Compared
    metrics: Counted


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    found = Document.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "reconciliation_<date>.json"}


def render(document: Document) -> str:
    """Return the file's content."""
    return document.model_dump_json(indent=2) + "\n"
