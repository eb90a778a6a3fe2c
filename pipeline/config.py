"""Configuration of the offline pipeline: ``config/pipeline.yaml``, read once and frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from model_release.artifact import Frozen
from model_release.documents import read_yaml
from model_release.errors import ConfigurationError
from model_release.explain import explain

CONFIG_VARIABLE = "PIPELINE_CONFIG"
CONFIG_FILE = "config/pipeline.yaml"
ALGORITHMS = ("popular", "personal_frequency", "item_knn", "als", "next_basket", "ease")

FACTOR_ALGORITHMS = ("als",)  # those whose scores are inner products of vectors

AlgorithmName = Literal["popular", "personal_frequency", "item_knn", "als", "next_basket", "ease"]
Clock = Literal["wall_time", "log_time"]


class InteractionColumns(Frozen):
    """Which columns of the source are which."""

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    quantity: str | None = None
    price: str | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """All configured columns."""
        named = (self.user_id, self.item_id, self.timestamp, self.quantity, self.price)
        return tuple(name for name in named if name is not None)


class ItemColumns(Frozen):
    """Which columns describe an item; ``name`` may be put together from several."""

    item_id: str = "item_id"
    name: str | tuple[str, ...] | None = None
    category: str | None = None

    @property
    def name_columns(self) -> tuple[str, ...]:
        """The columns of the name, in order; empty if items have none."""
        if self.name is None:
            return ()
        return (self.name,) if isinstance(self.name, str) else self.name

    @property
    def used(self) -> tuple[str, ...]:
        """All configured columns."""
        return (self.item_id, *self.name_columns, *([self.category] if self.category else []))


class Interactions(Frozen):
    """The table of interactions."""

    path: Annotated[str, Field(min_length=1)]
    columns: InteractionColumns = InteractionColumns()


class Items(Frozen):
    """The optional table of items."""

    path: Annotated[str, Field(min_length=1)]
    columns: ItemColumns = ItemColumns()


class Source(Frozen):
    """Where the data is."""

    name: Annotated[str, Field(min_length=1)]
    interactions: Interactions
    items: Items | None = None
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone such as Asia/Shanghai or UTC") from error
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)


class Training(Frozen):
    """How models are made."""

    algorithm: AlgorithmName | Literal["auto"] = "auto"
    auto: Annotated[tuple[AlgorithmName, ...], Field(min_length=1)] = ("popular", "personal_frequency", "next_basket")
    metric: Literal["ndcg_at_10", "recall_at_20", "map_at_10", "hit_rate_at_10"] = "ndcg_at_10"
    validation_windows: Annotated[int, Field(ge=1, le=12)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    user_list_length: Annotated[int, Field(ge=20, le=1000)] = 100
    similar_list_length: Annotated[int, Field(ge=1, le=1000)] = 50
    serving: Literal["ranked_lists", "factors"] = "ranked_lists"
    algorithms: Mapping[AlgorithmName, Mapping[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _servable(self) -> Training:
        for name in self.auto if self.algorithm == "auto" else (self.algorithm,):
            check_servable(self.serving, name)
        return self


def check_servable(serving: str, algorithm: str) -> None:
    """Check that a run of ``algorithm`` can be written in a serving format.

    Raises:
        ConfigurationError: it can't; the message names both, and what would fit.
    """
    if serving == "factors" and algorithm not in FACTOR_ALGORITHMS:
        raise ConfigurationError(
            f"serving: factors needs vectors, which {algorithm!r} does not make; use {', '.join(FACTOR_ALGORITHMS)}, "
            "or serving: ranked_lists"
        )


class Range(Frozen):
    """Which numbers are plausible; infinity and NaN never are."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Range:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: no number lies there")
        return self


class DataQuality(Frozen):
    """What the data-quality stage compares with."""

    history_weeks: Annotated[int, Field(ge=4, le=52)] = 8
    drift_days: Annotated[int, Field(ge=1, le=365)] = 28
    volume_factor: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    quantity: Range = Range(at_least=0.0)
    price: Range = Range(at_least=0.0)


class ReconciliationSource(Frozen):
    """What the reconciliation of a day takes for what people did, and which replicas must have a log."""

    outcomes: Literal["any", "interactions", "events", "both"] = "any"
    outcome_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("purchase",)
    latest_hours: Annotated[float, Field(gt=0, le=48)] = 6.0
    replicas: tuple[str, ...] = ()


class PipelineConfig(Frozen):
    """``config/pipeline.yaml``."""

    schema_version: Literal[1] = 1
    source: Source
    clock: Clock = "wall_time"
    horizon_days: Annotated[int, Field(ge=1, le=365)] = 7
    repeat_purchases: bool
    training: Training = Training()
    data_quality: DataQuality = DataQuality()
    reconciliation: ReconciliationSource = ReconciliationSource()

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _one_meaning_per_column(self) -> PipelineConfig:
        used = self.source.interactions.columns.used
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise ValueError(f"source.interactions.columns uses {twice[0]!r} twice: a column has one meaning")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the configuration file; relative paths in it start here."""
        return self._folder


def load_config(path: Path | None = None) -> PipelineConfig:
    """Read the configuration.

    Args:
        path: the file; None: ``$PIPELINE_CONFIG``, else ``config/pipeline.yaml`` of this project.

    Raises:
        ConfigurationError: it can't be read, has an unknown key, a contradiction or an impossible value.
    """
    file = path or default_config_path()
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"no configuration {file}: set {CONFIG_VARIABLE} or make {CONFIG_FILE}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} holds {type(content).__name__}, expected keys and values")
    try:
        config = PipelineConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {explain(error, PipelineConfig)}") from error
    config._folder = file.resolve().parent
    return config


def default_config_path() -> Path:
    """Return ``$PIPELINE_CONFIG``, else the file that comes with the project."""
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / CONFIG_FILE
