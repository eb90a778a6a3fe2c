"""Collect what a gate judges from: files of data quality and evaluation, the run's manifest, the registry.

Nothing here decides.  What can't be read, or is not about the run in question, becomes ``Missing`` with the reason.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from model_release.adapters.exposition import parse_data_quality
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.errors import ArtifactError, InvalidInputError, StateError
from model_release.evidence import (
    PER_USER_MARKS,
    DataQuality,
    Evaluation,
    Evidence,
    Floats,
    Missing,
    PerUser,
    RegistryFacts,
    RunFacts,
    Strings,
    disagreement,
)
from model_release.explain import explain_all
from model_release.identifiers import check_release_id, check_run_id
from model_release.paths import ReleasePaths
from model_release.policy import Policy

SUMMARY_NAME = "summary.json"
PER_USER_NAME = "per_user.parquet"
_KEYS = ("user_id", "user_slice", "item_slice")

_Part = TypeVar("_Part")


def collect(paths: ReleasePaths, policy: Policy, run_id: str, release_id: str | None) -> Evidence:
    """Read everything that ``policy`` needs to judge ``run_id``.

    The registry is read first: a decision then stands on a generation at least as old as everything else in it, and
    the commit, which compares and sets that generation, notices whatever happened since.

    Raises:
        InvalidInputError: ``run_id`` or ``release_id`` is not a valid name.
    """
    check_run_id(run_id)
    if release_id is not None:
        check_release_id(release_id)
    registry = _registry(paths, run_id)
    run = _run(paths, run_id)
    files: dict[str, str] = {}
    quality = _file(paths, paths.data_quality_metrics, files, _data_quality)
    folder = paths.evaluation_of(run_id)
    evaluation = _file(paths, folder / SUMMARY_NAME, files, _evaluation)
    if not isinstance(evaluation, Missing):
        evaluation = _about(evaluation, run_id, run)
    per_user: PerUser | Missing = Missing("no per-user values were read: there is no evaluation to compare")
    if not isinstance(evaluation, Missing) and evaluation.comparable:
        metrics = policy.metrics()
        per_user = _file(paths, folder / PER_USER_NAME, files, lambda data: _per_user(data, metrics))
        if not isinstance(per_user, Missing):
            per_user = _same_evaluation(per_user, evaluation)
    return Evidence(
        run_id=run_id,
        release_id=release_id,
        registry=registry,
        run=run,
        data_quality=quality,
        evaluation=evaluation,
        per_user=per_user,
        files=files,
    )


def evaluated_runs(paths: ReleasePaths) -> list[str]:
    """Return the runs that have an evaluation, by name."""
    return sorted(path.parent.name for path in paths.evaluation.glob(f"*/{SUMMARY_NAME}"))


def _registry(paths: ReleasePaths, run_id: str) -> RegistryFacts | Missing:
    try:
        registry = FileRegistry(paths).read()
    except (StateError, OSError) as error:
        return Missing(str(error))
    current = registry.current.run_id if registry.current else None
    registrations = {run.run_id: run.manifest_sha256 for run in registry.runs}
    latch = registry.latch
    return RegistryFacts(
        generation=registry.generation,
        current_run_id=current,
        current_manifest_sha256=None if current is None else registrations.get(current),
        candidate_manifest_sha256=registrations.get(run_id),
        latch=None if latch is None else f"{latch.reason} (set by {latch.by} at {latch.since:%Y-%m-%d %H:%M %Z})",
    )


def _run(paths: ReleasePaths, run_id: str) -> RunFacts | Missing:
    store = RunStore(paths)
    try:
        return RunFacts(manifest_sha256=store.manifest_sha256(run_id), as_of=store.manifest(run_id).as_of)
    except (ArtifactError, OSError) as error:
        return Missing(str(error))


def _file(
    paths: ReleasePaths, path: Path, files: dict[str, str], parse: Callable[[bytes], _Part | Missing]
) -> _Part | Missing:
    """Read a file once, note its hash, and parse exactly the bytes that were hashed."""
    try:
        name = path.relative_to(paths.evaluation).as_posix()
        data = path.read_bytes()
    except FileNotFoundError:
        return Missing(f"{name} does not exist")
    except OSError as error:
        return Missing(f"{name} can't be read: {error.strerror}")
    files[name] = hashlib.sha256(data).hexdigest()
    try:
        return parse(data)
    except (InvalidInputError, UnicodeDecodeError, pa.ArrowException) as error:
        return Missing(f"{name}: {error}")


def _data_quality(data: bytes) -> DataQuality:
    return parse_data_quality(data.decode("utf-8"))


def _evaluation(data: bytes) -> Evaluation:
    try:
        return Evaluation.model_validate_json(data)
    except ValidationError as error:
        first = explain_all(error.errors(include_url=False)[:1], Evaluation)
        raise InvalidInputError(f"{error.error_count()} problems, first: {first}") from error


def _about(evaluation: Evaluation, run_id: str, run: RunFacts | Missing) -> Evaluation | Missing:
    """Return the evaluation if it is of this run's files as they are now."""
    if evaluation.run_id != run_id:
        return Missing(f"the evaluation is of run {evaluation.run_id!r}, not {run_id!r}", settled=True)
    if isinstance(run, Missing):
        return Missing(f"the evaluation can't be matched with the run: {run.reason}", settled=run.settled)
    if evaluation.candidate_manifest_sha256 != run.manifest_sha256:
        return Missing(
            f"the evaluation is of manifest {evaluation.candidate_manifest_sha256[:12]}, run {run_id!r} now has "
            f"{run.manifest_sha256[:12]}: evaluate again",
            settled=True,
        )
    return evaluation


def _per_user(data: bytes, metrics: frozenset[str]) -> PerUser:
    file = pq.ParquetFile(io.BytesIO(data))
    table = file.read()
    for name in _KEYS:
        if name not in table.column_names:
            raise InvalidInputError(f"no column {name!r}")
    candidate = {metric: f"candidate_{metric}" for metric in sorted(metrics)}
    current = {metric: f"current_{metric}" for metric in sorted(metrics)}
    users, user_slices, item_slices = (_strings(table, name) for name in _KEYS)
    return PerUser(
        users=users,
        user_slices=user_slices,
        item_slices=item_slices,
        candidate=_floats(table, candidate),
        current=_floats(table, current),
        marks=_marks(file.metadata),
    )


def _marks(about: pq.FileMetaData) -> dict[str, str]:
    """Return what the file says of itself in its key-value metadata."""
    said = about.metadata or {}
    return {name: said[name.encode()].decode("utf-8", "replace") for name in PER_USER_MARKS if name.encode() in said}


def _strings(table: pa.Table, name: str) -> Strings:
    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise InvalidInputError(f"column {name!r} is {column.type}, expected strings")
    if column.null_count:
        raise InvalidInputError(f"column {name!r} has {column.null_count} nulls")
    return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=np.str_)


def _floats(table: pa.Table, columns: Mapping[str, str]) -> dict[str, Floats]:
    """Return the columns that are there; a null becomes NaN, which no check takes for a number."""
    found: dict[str, Floats] = {}
    for metric, name in columns.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        if not pa.types.is_floating(column.type):
            raise InvalidInputError(f"column {name!r} is {column.type}, expected floating point numbers")
        values = pc.fill_null(column.cast(pa.float64()), float("nan"))
        found[metric] = np.asarray(values.to_numpy(), dtype=np.float64)
    return found


def _same_evaluation(per_user: PerUser, evaluation: Evaluation) -> PerUser | Missing:
    """Return the per-user values if they are those that the summary sums up; a leftover of another run is not."""
    difference = disagreement(per_user, evaluation)
    return per_user if difference is None else Missing(f"{PER_USER_NAME}: {difference}", settled=True)
