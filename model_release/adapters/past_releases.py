"""What is known of past releases and evaluations, for a policy that is tried on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from model_release.adapters.evidence import evaluated_runs
from model_release.adapters.kept_evidence import evidence_path, read_kept
from model_release.adapters.per_user_values import PER_USER_NAME, SUMMARY_NAME, per_user
from model_release.errors import InvalidInputError, ModelReleaseError
from model_release.evidence import Evaluation, OnlineEvidence, PerUser
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy import Policy, Stage
from model_release.simulation.replay import Past
from model_release.verdict import Verdict

STAGES: tuple[Stage, ...] = get_args(Stage)
_SUFFIX = "online.evidence.json.gz"


@dataclass(frozen=True)
class Compared:
    """A past comparison of two runs."""

    evaluation: Evaluation
    per_user: PerUser


def past_decisions(paths: ReleasePaths, entries: Sequence[LedgerEntry], policy: Policy) -> list[Past]:
    """Return the last decision of every stage of every release in the ledger, oldest first, with its evidence."""
    last: dict[tuple[str, Stage], LedgerEntry] = {}
    for entry in entries:
        stage = _stage(entry)
        if stage is not None:
            last.pop((entry.release_id, stage), None)
            last[entry.release_id, stage] = entry
    return [_past(paths, entry, stage, policy) for (_, stage), entry in last.items()]


def newest_comparison(paths: ReleasePaths, policy: Policy, run_id: str | None) -> Compared:
    """Return the evaluation of ``run_id``; without a name that of the newest comparison of two runs.

    Raises:
        InvalidInputError: there is none, or its files can't be used.
    """
    found = [read_evaluation(paths, name) for name in ([run_id] if run_id else evaluated_runs(paths))]
    usable = [evaluation for evaluation in found if evaluation.comparable]
    if not usable:
        raise InvalidInputError(f"{run_id or 'no run'} has an evaluation that compares two runs")
    evaluation = max(usable, key=lambda one: one.evaluated_at)
    try:
        data = (paths.evaluation_of(evaluation.run_id) / PER_USER_NAME).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{evaluation.run_id}/{PER_USER_NAME} can't be read: {error.strerror}") from error
    return Compared(evaluation, per_user(data, policy.metrics()))


def newest_trial(paths: ReleasePaths, entries: Sequence[LedgerEntry]) -> OnlineEvidence | None:
    """Return the newest kept evidence of a trial; None: there is none, or none that can be read."""
    files = sorted(paths.decisions.glob(f"*.{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    known = {evidence_path(paths, entry.release_id, "online"): entry.release_id for entry in entries if _stage(entry)}
    for path in files:
        release_id = known.get(path, path.name.removesuffix(f".{_SUFFIX}"))
        try:
            kept = read_kept(paths, release_id, "online", metrics=())
        except ModelReleaseError:
            continue  # what can't be read measures nothing; the newest that can does
        if kept is not None and kept.evidence.online is not None:
            return kept.evidence.online
    return None


def _past(paths: ReleasePaths, entry: LedgerEntry, stage: Stage, policy: Policy) -> Past:
    verdict, at = Verdict(str(entry.details["verdict"])), entry.at
    evidence: Any
    try:
        kept = read_kept(paths, entry.release_id, stage, metrics=policy.metrics())
    except ModelReleaseError as error:
        evidence = str(error)
    else:
        evidence = _matching(kept, entry.run_id, at)
    return Past(entry.release_id, stage, entry.run_id or "", verdict, at, evidence)


def _matching(kept: Any, run_id: str | None, at: dt.datetime) -> Any:
    """Return the evidence if it is that of the decision in the ledger, else why it is not."""
    if kept is None:
        return "no evidence was kept"
    if kept.decided_at != at or kept.evidence.run_id != run_id:
        return f"the kept evidence is of {kept.evidence.run_id!r} at {kept.decided_at.isoformat(timespec='seconds')}"
    return kept.evidence


def _stage(entry: LedgerEntry) -> Stage | None:
    if entry.event is not Event.GATE_DECIDED or entry.details.get("verdict") not in set(Verdict):
        return None
    stage = entry.details.get("stage", "offline")
    return stage if stage in STAGES else None


def read_evaluation(paths: ReleasePaths, run_id: str) -> Evaluation:
    """Return the evaluation of ``run_id``.

    Raises:
        InvalidInputError: there is none, or it can't be read.
    """
    path = paths.evaluation_of(run_id) / SUMMARY_NAME
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{run_id}/{SUMMARY_NAME} can't be read: {error}") from error
