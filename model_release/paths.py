"""Where everything lives below one root folder."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_release.identifiers import check_run_id

HOME_VARIABLE = "MODEL_RELEASE_HOME"


@dataclass(frozen=True)
class ReleasePaths:
    """The folders and files of one installation; all derived from ``root``."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ReleasePaths:
        """Take the root from ``MODEL_RELEASE_HOME``, else the current folder."""
        env = os.environ if environment is None else environment
        return cls(Path(env.get(HOME_VARIABLE) or Path.cwd()).resolve())

    @property
    def models(self) -> Path:
        """Published runs, ``models/<run_id>/``."""
        return self.root / "models"

    @property
    def registry(self) -> Path:
        """The desired state."""
        return self.models / "model_registry.json"

    @property
    def ledger(self) -> Path:
        """The record of every decision and change."""
        return self.models / "release_ledger.jsonl"

    @property
    def trash(self) -> Path:
        """Runs that are being removed."""
        return self.models / ".trash"

    @property
    def evaluation(self) -> Path:
        """Reports of data quality, evaluation and the gate."""
        return self.root / "data" / "evaluation"

    @property
    def data_quality_report(self) -> Path:
        """Full data-quality report of the last run of the stage."""
        return self.evaluation / "data_quality_report.json"

    @property
    def data_quality_metrics(self) -> Path:
        """The same in Prometheus text format, for the textfile collector and the gate."""
        return self.evaluation / "data_quality_metrics.prom"

    def evaluation_of(self, run_id: str) -> Path:
        """Folder of one run's evaluation: ``summary.json``, ``per_user.parquet``, ``comparison.svg``."""
        return self.evaluation / check_run_id(run_id)

    @property
    def decisions(self) -> Path:
        """Decisions of the gate: the last one of each release, and in a folder per stage the last one of that stage."""
        return self.evaluation / "decisions"

    def reconciliation_of(self, date: dt.date) -> Path:
        """What was promised against what happened on one day."""
        return self.evaluation / f"reconciliation_{date.isoformat()}.json"

    @property
    def exposures(self) -> Path:
        """What was served and what people then did, written by every worker of the recommendation API."""
        return self.root / "data" / "exposures"
