"""Whether the files that ``collect`` reads have changed, without reading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model_release.adapters.files import mark_of
from model_release.adapters.per_user_values import PER_USER_NAME, SUMMARY_NAME
from model_release.adapters.reconciliation_files import newest_reconciliation
from model_release.artifact import MANIFEST_NAME
from model_release.evidence import Missing
from model_release.identifiers import check_run_id
from model_release.paths import ReleasePaths


def evidence_files(paths: ReleasePaths, run_id: str) -> tuple[Path, ...]:
    """Return the files that a gate on ``run_id`` judges from."""
    evaluation = paths.evaluation_of(run_id)
    date = newest_reconciliation(paths)
    reconciled = () if isinstance(date, Missing) else (paths.reconciliation_of(date),)
    return (
        paths.registry,
        paths.models / check_run_id(run_id) / MANIFEST_NAME,
        paths.data_quality_metrics,
        evaluation / SUMMARY_NAME,
        evaluation / PER_USER_NAME,
        *reconciled,
    )


def fingerprint(paths: ReleasePaths, run_id: str) -> str:
    """Return a text that changes when one of the files is written, appears or goes; a few microseconds."""
    seen = [mark_of(path) for path in evidence_files(paths, run_id)]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
