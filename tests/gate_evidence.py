"""Evidence for gates: in memory, and as the files that the pipeline writes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.evidence import (
    PER_USER_MARKS,
    DataQuality,
    Evaluation,
    Evidence,
    Floats,
    PerUser,
    RegistryFacts,
    RunFacts,
)
from model_release.paths import ReleasePaths
from model_release.policy import Policy, parse_policy
from model_release.registry import promote, register
from tests.runs import publish_run

NOW = dt.datetime(2026, 1, 13, 12, tzinfo=dt.UTC)
AS_OF = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
CANDIDATE, CURRENT = "run-new", "run-old"
METRICS = ("ndcg_at_10", "recall_at_20", "map_at_10", "hit_rate_at_10")
USERS = 600
SLICES = ("low", "medium", "high")


def policy(*checks: Mapping[str, Any], **changes: Any) -> Policy:
    """Return a policy of these checks."""
    return parse_policy(json.dumps({"schema_version": 1, "name": "test", "checks": checks, **changes}), source="test")


def check(kind: str, **changes: Any) -> dict[str, Any]:
    """Return a usual check of each kind."""
    usual: dict[str, dict[str, Any]] = {
        "data_quality": {"minimum_score": 90, "tables": ["interactions"]},
        "freshness": {
            "tables": ["interactions"],
            "maximum_data_age_hours": 48,
            "maximum_check_age_hours": 24,
            "maximum_evaluation_age_hours": 24,
        },
        "absolute": {"metric": "ndcg_at_10", "at_least": 0.05, "minimum_users": 100},
        "non_inferiority": {"metric": "ndcg_at_10", "margin": 0.02, "minimum_users": 100},
        "superiority": {"metric": "ndcg_at_10", "gain": 0.01, "minimum_users": 100},
    }
    return {"name": kind.replace("_", "-"), "kind": kind, **usual[kind], **changes}


def values(seed: int = 0, *, better_by: float = 0.0, users: int = USERS) -> tuple[Floats, Floats]:
    """Return candidate and current values (users,) that look like nDCG: many zeros, correlated, in [0, 1]."""
    rng = np.random.default_rng(seed)
    taste = rng.beta(0.4, 2.0, users)
    current = np.clip(taste + rng.normal(0, 0.05, users), 0, 1)
    candidate = np.clip(taste + rng.normal(better_by, 0.05, users), 0, 1)
    return candidate, current


def per_user(candidate: Floats, current: Floats, *, metrics: tuple[str, ...] = METRICS) -> PerUser:
    """Return per-user values: everybody once for all items, every second user for new ones too."""
    n = len(candidate)
    users = np.array([f"user-{number}" for number in range(n)])
    activity = np.array([SLICES[number % 3] for number in range(n)])
    some = np.arange(0, n, 2)

    def both(column: Floats) -> Floats:
        return np.concatenate([column, column[some]])

    return PerUser(
        users=np.concatenate([users, users[some]]),
        user_slices=np.concatenate([activity, activity[some]]),
        item_slices=np.array(["all"] * n + ["new"] * len(some)),
        candidate={metric: both(candidate) for metric in metrics},
        current={metric: both(current) for metric in metrics},
    )


def summary(
    candidate: Floats, current: Floats | None, *, manifest: str = "a" * 64, against: str = "b" * 64
) -> dict[str, Any]:
    """Return what ``summary.json`` says of these values."""
    lists = {"coverage": 0.4, "novelty": 8.0, "list_length": 100.0}
    return {
        "schema_version": 1,
        "run_id": CANDIDATE,
        "against": None if current is None else CURRENT,
        "against_reason": "no current run" if current is None else "",
        "comparable": current is not None,
        "as_of": AS_OF.isoformat(),
        "window_start": AS_OF.isoformat(),
        "window_end": (AS_OF + dt.timedelta(days=7)).isoformat(),
        "evaluated_at": (NOW - dt.timedelta(hours=1)).isoformat(),
        "k": {"ndcg": 10},
        "users": len(candidate),
        "metrics": {
            "candidate": dict.fromkeys(METRICS, float(candidate.mean())),
            "current": None if current is None else dict.fromkeys(METRICS, float(current.mean())),
        },
        "users_without_interactions": 40,
        "unknown_users": {"candidate": 3, "current": 5},
        "slices": {
            **{f"{name} users": {"users": len(range(place, len(candidate), 3))} for place, name in enumerate(SLICES)},
            "new items": {"users": len(range(0, len(candidate), 2))},
        },
        "catalogue": {"candidate": lists, "current": None if current is None else lists},
        "candidate_manifest_sha256": manifest,
        "current_manifest_sha256": None if current is None else against,
    }


def evidence(*, better_by: float = 0.0, baseline: bool = True, users: int = USERS, **changes: Any) -> Evidence:
    """Return good evidence: a candidate that is better by ``better_by`` than the current run."""
    candidate, current = values(better_by=better_by, users=users)
    found = Evidence(
        run_id=CANDIDATE,
        release_id="release-1",
        registry=RegistryFacts(
            generation=4 if baseline else 0,
            current_run_id=CURRENT if baseline else None,
            current_manifest_sha256="b" * 64 if baseline else None,
            candidate_manifest_sha256="a" * 64,
            latch=None,
        ),
        run=RunFacts(manifest_sha256="a" * 64, as_of=AS_OF),
        data_quality=DataQuality(
            scores={"interactions": 99.0, "items": 95.0},
            data_age_seconds={"interactions": 3600.0, "items": 7200.0},
            measured_at=(NOW - dt.timedelta(hours=2)).timestamp(),
        ),
        evaluation=Evaluation.model_validate_json(json.dumps(summary(candidate, current if baseline else None))),
        per_user=per_user(candidate, current),
    )
    return replace(found, **changes)


def exposition(
    scores: Mapping[str, float] | None = None, ages: Mapping[str, float] | None = None, at: dt.datetime = NOW
) -> str:
    """Return what ``data_quality_metrics.prom`` says."""
    found = {"interactions": 99.0, "items": 95.0} if scores is None else scores
    old = dict.fromkeys(found, 3600.0) if ages is None else ages
    lines = ["# HELP data_quality_score Score of a table, 0 to 100", "# TYPE data_quality_score gauge"]
    lines += [f'data_quality_score{{table="{table}"}} {score}' for table, score in found.items()]
    lines += ["# TYPE data_quality_data_age_seconds gauge"]
    lines += [f'data_quality_data_age_seconds{{table="{table}"}} {age}' for table, age in old.items()]
    lines += [f"data_quality_last_run_timestamp_seconds {at.timestamp()}", f"data_quality_tables {len(found)}"]
    return "\n".join(lines) + "\n"


def write_evidence(
    paths: ReleasePaths, *, better_by: float = 0.0, baseline: bool = True, at: dt.datetime = NOW
) -> None:
    """Publish and register both runs, and write the files of data quality and evaluation."""
    candidate, current = values(better_by=better_by)
    store, registry = RunStore(paths), FileRegistry(paths)
    for number, run_id in enumerate((CURRENT, CANDIDATE) if baseline else (CANDIDATE,)):
        publish_run(paths, run_id, seed=number, as_of=AS_OF)
        digest = store.manifest_sha256(run_id)
        registry.update(
            lambda state, run_id=run_id, digest=digest: register(  # type: ignore[misc]
                state, run_id=run_id, manifest_sha256=digest, release_id="release-0", at=at
            )
        )
    if baseline:
        registry.update(lambda state: promote(state, run_id=CURRENT, release_id="release-0", at=at))
    folder = paths.evaluation_of(CANDIDATE)
    folder.mkdir(parents=True)
    document = summary(
        candidate,
        current if baseline else None,
        manifest=store.manifest_sha256(CANDIDATE),
        against=store.manifest_sha256(CURRENT) if baseline else "",
    )
    document["evaluated_at"] = at.isoformat()
    (folder / "summary.json").write_text(json.dumps(document), encoding="utf-8")
    write_per_user(paths, per_user(candidate, current), baseline=baseline)
    paths.data_quality_metrics.write_text(exposition(at=at), encoding="utf-8")


def write_per_user(paths: ReleasePaths, found: PerUser, *, baseline: bool = True) -> None:
    """Write ``per_user.parquet`` of the window and the runs of the summary that is there."""
    columns: dict[str, Any] = {
        "user_id": pa.array(found.users.tolist(), pa.string()),
        "user_slice": pa.array(found.user_slices.tolist(), pa.string()),
        "item_slice": pa.array(found.item_slices.tolist(), pa.string()),
    }
    columns |= {f"candidate_{metric}": pa.array(column) for metric, column in found.candidate.items()}
    if baseline:
        columns |= {f"current_{metric}": pa.array(column) for metric, column in found.current.items()}
    folder = paths.evaluation_of(CANDIDATE)
    said = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    marks = {name: said[name] or "" for name in PER_USER_MARKS}
    pq.write_table(pa.table(columns, metadata=marks), folder / "per_user.parquet")
