"""What each run showed as each variant, what came of it, and what its evaluation promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from model_release.adapters.run_store import RunStore
from model_release.artifact import Manifest
from model_release.errors import ModelReleaseError
from model_release.paths import ReleasePaths
from model_release.policy import Tolerance
from model_release.reconciling.document import DAILY_METRICS, Measured, RunFacts
from model_release.reconciling.promise import measure, promise_of
from pipeline.config import PipelineConfig
from pipeline.daily import values
from pipeline.evaluate import EvaluationSummary
from pipeline.reconciliation.join import Joined
from pipeline.reconciliation.log import DayLog
from pipeline.reconciliation.taken import had_before

_BY = ["run_id", "variant", "user"]


@dataclass(frozen=True)
class Promise:
    """What is known of a run beside the log: its manifest, what it promised of a day, and why it did not."""

    manifest: Manifest | None
    daily: Mapping[str, Any]
    coverage: float | None
    why_not: str = ""

    @classmethod
    def of(cls, paths: ReleasePaths, run_id: str | None) -> Promise:
        """Read the manifest and the evaluation of a run."""
        if run_id is None:
            return cls(None, {}, None, "no run made these answers")
        store = RunStore(paths)
        try:
            manifest, digest = store.manifest(run_id), store.manifest_sha256(run_id)
        except (ModelReleaseError, OSError) as error:
            return cls(None, {}, None, f"run {run_id} is not known here: {error}")
        found = _summary(paths, run_id, digest)
        if isinstance(found, str):
            again = f"evaluate it with python -m pipeline.evaluate --run {run_id}"
            return cls(manifest, {}, None, f"there is no promise: {found}; {again}")
        return cls(manifest, found.daily.model_dump() if found.daily else {}, found.catalogue.candidate.get("coverage"))


def _summary(paths: ReleasePaths, run_id: str, manifest_sha256: str) -> EvaluationSummary | str:
    """Return the evaluation of a run, if it promises something of a day; else why there is no promise."""
    file = paths.evaluation_of(run_id) / "summary.json"
    try:
        summary = EvaluationSummary.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return f"{run_id} has no {file.name}"
    except (OSError, ValidationError):
        return f"{file.name} of {run_id} can't be read"
    if (summary.run_id, summary.candidate_manifest_sha256) != (run_id, manifest_sha256):
        return f"{file.name} is of other files than {run_id}"
    if summary.daily is None:
        days = (summary.window_end - summary.window_start).days
        return f"{file.name} of {run_id} is about {days} days, and says nothing of a single one"
    return summary


def facts(
    config: PipelineConfig, paths: ReleasePaths, log: DayLog, joined: Joined, tolerance: Tolerance
) -> tuple[RunFacts, ...]:
    """Return what each run showed as each variant, in the order of its first answer."""
    if log.groups.is_empty():
        return ()
    counted = _counted(log)
    users = {(run, variant): number for run, variant, number in joined.users.iter_rows()}
    promises = {run: Promise.of(paths, run) for run in counted["run_id"].unique()}
    taken = _counting(config, joined.taken, promises)
    found = []
    for row in counted.iter_rows(named=True):
        key, promise = (row["run_id"], row["variant"]), promises[row["run_id"]]
        mine = taken.filter(pl.col("run_id").eq_missing(key[0]) & (pl.col("variant") == key[1]))
        shown = log.items.filter(pl.col("run_id").eq_missing(key[0]) & (pl.col("variant") == key[1]))
        catalogue = promise.manifest.data.items if promise.manifest is not None else None
        why_not = "these answers are not the run's own" if key[1] == "degraded" else promise.why_not
        found.append(
            RunFacts(
                **row,
                users=users.get(key, 0),
                followed_users=mine["user"].n_unique(),
                items_shown=shown.height,
                catalogue_items=catalogue,
                coverage=shown.height / catalogue if catalogue else None,
                promised_coverage=promise.coverage,
                metrics=_measured(mine, promise, tolerance, why_not),
                not_comparable=(why_not,) if why_not else (),
            )
        )
    return tuple(found)


def _counted(log: DayLog) -> pl.DataFrame:
    similar = pl.col("endpoint") == "similar"
    return (
        log.groups.group_by("run_id", "variant")
        .agg(
            answers=pl.col("count").filter(~similar).sum().cast(pl.Int64),
            similar_answers=pl.col("count").filter(similar).sum().cast(pl.Int64),
            first_at=pl.col("first").min(),
            last_at=pl.col("last").max(),
        )
        .sort("first_at", "run_id", "variant")
    )


def _counting(config: PipelineConfig, taken: pl.DataFrame, promises: Mapping[str | None, Promise]) -> pl.DataFrame:
    """Leave out what a run may not recommend: where nothing is recommended twice, what a user had before its training ended."""
    if config.repeat_purchases or taken.is_empty():
        return taken
    parts = []
    for (run_id,), rows in taken.partition_by("run_id", as_dict=True).items():
        manifest = promises[run_id].manifest
        if manifest is None:
            parts.append(rows)
            continue
        had = had_before(config, rows.select("user", "item").unique(), manifest.as_of)
        parts.append(rows.join(had, on=["user", "item"], how="anti"))
    return pl.concat(parts)


def _measured(taken: pl.DataFrame, promise: Promise, tolerance: Tolerance, why_not: str) -> Mapping[str, Measured]:
    found = {}
    for metric in DAILY_METRICS:
        cutoff = int(metric.rpartition("_at_")[2])
        pairs = taken.filter(pl.col("k") >= cutoff).group_by(*_BY, "item").agg(pl.col("rank").min())
        seen = np.asarray(values(pairs, metric, _BY)["value"].to_numpy(), np.float64)
        promised = None if why_not else promise_of(promise.daily, metric)
        reason = why_not or ("" if promised else f"the evaluation promises no {metric} of a day")
        found[metric] = measure(seen, promised, tolerance, why_not=reason)
    return found
