"""What a gate judges from before a trial: the files of data quality and evaluation.  Nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from model_release.adapters.exposition import parse_data_quality
from model_release.adapters.hashed_files import read_hashed
from model_release.adapters.per_user_values import PER_USER_NAME, SUMMARY_NAME, per_user, same_evaluation
from model_release.errors import InvalidInputError
from model_release.evidence import DataQuality, Evaluation, Missing, PerUser, RunFacts
from model_release.explain import explain_all
from model_release.paths import ReleasePaths
from model_release.policy import Policy


@dataclass(frozen=True)
class OfflineParts:
    """The parts of the evidence that only a gate before a trial looks at."""

    data_quality: DataQuality | Missing
    evaluation: Evaluation | Missing
    per_user: PerUser | Missing


def not_looked_at() -> OfflineParts:
    """Return what a gate during a trial knows of them: nothing, they were judged before it."""
    missing = Missing("not looked at during a trial")
    return OfflineParts(missing, missing, missing)


def read_offline(
    paths: ReleasePaths, policy: Policy, run_id: str, run: RunFacts | Missing, files: dict[str, str]
) -> OfflineParts:
    """Read what ``policy`` needs to judge ``run_id``; note the hash of every file in ``files``."""
    quality = read_hashed(paths, paths.data_quality_metrics, files, _data_quality)
    folder = paths.evaluation_of(run_id)
    evaluation = read_hashed(paths, folder / SUMMARY_NAME, files, _evaluation)
    if not isinstance(evaluation, Missing):
        evaluation = _about(evaluation, run_id, run)
    users: PerUser | Missing = Missing("no per-user values were read: there is no evaluation to compare")
    if not isinstance(evaluation, Missing) and evaluation.comparable:
        metrics = policy.metrics()
        users = read_hashed(paths, folder / PER_USER_NAME, files, lambda data: per_user(data, metrics))
        if not isinstance(users, Missing):
            users = same_evaluation(users, evaluation)
    return OfflineParts(quality, evaluation, users)


def read_data_quality(paths: ReleasePaths) -> DataQuality | Missing:
    """Return the data's quality as it was measured last."""
    return read_hashed(paths, paths.data_quality_metrics, {}, _data_quality)


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
