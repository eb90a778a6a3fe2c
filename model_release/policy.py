"""What a run must satisfy to be released: ``config/release_policy.yaml``, one policy for DAG, CI and command line."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_release.documents import read_yaml
from model_release.errors import ConfigurationError
from model_release.explain import explain

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hours = Annotated[float, Field(gt=0, le=24 * 366 * 10)]
Minutes = Annotated[float, Field(ge=0, le=7 * 24 * 60)]
Users = Annotated[int, Field(ge=2)]

POLICY_VARIABLE = "RELEASE_POLICY"
POLICY_FILE = "config/release_policy.yaml"
ALL = "all"  # name of the slice that leaves nobody and nothing out
_TAIL_RESAMPLES = 10  # a quantile that rests on fewer resamples beyond it is noise


class Strict(BaseModel):
    """Immutable; unknown keys, numbers in quotes, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CheckPolicy(Strict):
    """What all kinds of check have."""

    name: Name
    dry_run: bool = False


class DataQualityPolicy(CheckPolicy):
    """Every table's data-quality score is at least ``minimum_score`` (0 to 100); ``tables`` must be among them."""

    kind: Literal["data_quality"]
    minimum_score: Annotated[float, Field(gt=0, le=100)]
    tables: Annotated[tuple[str, ...], Field(min_length=1)]


class FreshnessPolicy(CheckPolicy):
    """The data, its last check and the evaluation are not too old; ``tables`` must have an age."""

    kind: Literal["freshness"]
    tables: tuple[str, ...] = ()
    maximum_data_age_hours: Hours | None = None
    maximum_check_age_hours: Hours | None = None
    maximum_evaluation_age_hours: Hours | None = None

    @model_validator(mode="after")
    def _something(self) -> FreshnessPolicy:
        limits = (self.maximum_data_age_hours, self.maximum_check_age_hours, self.maximum_evaluation_age_hours)
        if not any(limit is not None for limit in limits):
            raise ValueError(
                "give at least one of maximum_data_age_hours, maximum_check_age_hours, maximum_evaluation_age_hours"
            )
        if (self.maximum_data_age_hours is None) != (not self.tables):
            raise ValueError("tables and maximum_data_age_hours belong together: give both or neither")
        return self


class AbsolutePolicy(CheckPolicy):
    """A metric of the run itself lies between fixed limits."""

    kind: Literal["absolute"]
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    minimum_users: Users

    @model_validator(mode="after")
    def _limits(self) -> AbsolutePolicy:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least or at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: nothing could pass")
        return self


class Slice(Strict):
    """A part of the users and of the items; the default is everybody and everything."""

    users: str = ALL
    items: str = ALL

    @property
    def label(self) -> str:
        """Name for people."""
        parts = [f"{part} {what}" for part, what in ((self.users, "users"), (self.items, "items")) if part != ALL]
        return ", ".join(parts) or ALL


class NonInferiorityPolicy(CheckPolicy):
    """The mean of a per-user metric is not worse than the current run's by a margin or more."""

    kind: Literal["non_inferiority"]
    metric: str
    margin: Annotated[float, Field(gt=0)] | None = None
    relative_margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    method: Literal["t", "bootstrap"] = "bootstrap"
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    minimum_users: Users
    slices: Annotated[tuple[Slice, ...], Field(min_length=1)] = (Slice(),)

    @model_validator(mode="after")
    def _fits_together(self) -> NonInferiorityPolicy:
        if self.margin is not None and self.relative_margin is not None:
            raise ValueError(f"margin {self.margin:g} and relative_margin {self.relative_margin:g} exclude each other")
        if self.margin is None and self.relative_margin is None:
            raise ValueError("give margin (in units of the metric) or relative_margin (share of the current mean)")
        for key, value in (("resamples", self.resamples), ("seed", self.seed)):
            if self.method == "t" and value is not None:
                raise ValueError(f"{key} {value} and method t exclude each other: {key} belongs to method bootstrap")
        if len(set(self.slices)) != len(self.slices):
            raise ValueError("slices holds the same slice twice")
        if self.bootstrap_resamples * (1 - self.confidence) < _TAIL_RESAMPLES:
            raise ValueError(
                f"resamples {self.bootstrap_resamples} and confidence {self.confidence:g} don't fit: fewer than "
                f"{_TAIL_RESAMPLES} resamples lie beyond the bound; more resamples or less confidence"
            )
        return self

    @property
    def bootstrap_resamples(self) -> int:
        """Number of resamples of method ``bootstrap``; enough for the confidence unless it is set."""
        if self.resamples is not None:
            return self.resamples
        return max(2000, int(2 * _TAIL_RESAMPLES / (1 - self.confidence)))


AnyCheck = Annotated[
    DataQualityPolicy | FreshnessPolicy | AbsolutePolicy | NonInferiorityPolicy, Field(discriminator="kind")
]


class Budgets(Strict):
    """How long a gate waits, from its start, for evidence that may still come; then it rejects."""

    error_minutes: Minutes = 5.0
    inconclusive_minutes: Minutes = 30.0

    @property
    def error(self) -> dt.timedelta:
        """Longest wait while something can't be measured."""
        return dt.timedelta(minutes=self.error_minutes)

    @property
    def inconclusive(self) -> dt.timedelta:
        """Longest wait for more evidence."""
        return dt.timedelta(minutes=self.inconclusive_minutes)


class Policy(Strict):
    """All checks of a gate."""

    schema_version: Literal[1]
    name: Name
    on_no_baseline: Literal["pass", "fail"] = "fail"
    budgets: Budgets = Budgets()
    checks: Annotated[tuple[AnyCheck, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_block(self) -> Policy:
        names = [check.name for check in self.checks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two checks have the name {twice[0]!r}")
        if all(check.dry_run for check in self.checks):
            raise ValueError("every check has dry_run: true, so that no run could ever be rejected")
        return self

    @property
    def sha256(self) -> str:
        """Hash of what the policy says, defaults included; comments and layout do not count."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def strictest_data_quality(self) -> DataQualityPolicy | None:
        """The blocking data-quality check that demands the highest score; None if there is no such check."""
        kinds = [check for check in self.checks if isinstance(check, DataQualityPolicy) and not check.dry_run]
        return max(kinds, key=lambda check: check.minimum_score, default=None)

    def metrics(self) -> frozenset[str]:
        """Return the per-user metrics that are compared."""
        return frozenset(check.metric for check in self.checks if isinstance(check, NonInferiorityPolicy))


def default_policy_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return ``$RELEASE_POLICY``, else ``config/release_policy.yaml`` here, else the one beside this package."""
    env = os.environ if environment is None else environment
    named = env.get(POLICY_VARIABLE)
    if named:
        return Path(named)
    here = Path(POLICY_FILE)
    return here if here.exists() else Path(__file__).resolve().parents[1] / POLICY_FILE


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ConfigurationError: it can't be read, or says something that can't be meant; every problem is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the policy {path} can't be read: {error}") from error
    return parse_policy(text, source=str(path))


def parse_policy(text: str, *, source: str) -> Policy:
    """Read a policy from YAML text; ``source`` names it in messages.

    Raises:
        ConfigurationError: as :func:`load_policy`.
    """
    try:
        document = read_yaml(text)
        # Through JSON, where a list may become a tuple although everything else is strict.
        return Policy.model_validate_json(json.dumps(document))
    except ValidationError as error:
        place = functools.partial(_place, document=document)
        raise ConfigurationError(f"{source}: {explain(error, Policy, place=place)}") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{source} is not a valid policy: {error}") from error


def _place(location: Sequence[int | str], document: Any) -> str:
    """Say where a problem is, naming a check by its name where it has one."""
    match list(location):
        case ["checks", int(index), *rest]:
            check = document["checks"][index]
            name = check.get("name") if isinstance(check, dict) else None
            kind = check.get("kind") if isinstance(check, dict) else None
            inner = ".".join(str(part) for part in rest if part != kind)
            return f"check {name!r}" + (f" {inner}" if inner else "") if name else f"checks.{index} {inner}".strip()
        case parts:
            return ".".join(map(str, parts)) or "policy"
