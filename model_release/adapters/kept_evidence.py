"""Evidence on disk: what a decision was computed from, ``decisions/<release_id>.<stage>.evidence.json.gz``.

Everything but the values of single users, which stay in ``<run_id>/per_user.parquet`` and are pinned by its SHA-256 in
:attr:`Evidence.files`.  The form follows from the annotations of the evidence's classes, in both directions: a field
that is added later and has a default is no new version, and what is read has the types that checks expect.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model_release.adapters.files import write_atomic
from model_release.adapters.per_user_values import PER_USER_NAME, per_user
from model_release.adapters.typed_json import decoded, encoded
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.evidence import Evidence, Missing, PerUser
from model_release.identifiers import check_release_id
from model_release.paths import ReleasePaths
from model_release.policy import Stage
from model_release.verdict import Decision, Verdict
from model_release.versions import too_new

SCHEMA_VERSION = 1
_ELSEWHERE = Missing("the values of single users are kept in their own file")


def evidence_path(paths: ReleasePaths, release_id: str, stage: Stage) -> Path:
    """Return where the evidence of a release's decision is kept.

    Raises:
        InvalidInputError: it is not a release id.
    """
    return paths.decisions / f"{check_release_id(release_id)}.{stage}.evidence.json.gz"


@dataclass(frozen=True)
class Kept:
    """Evidence with what was decided on it."""

    evidence: Evidence
    verdict: Verdict
    decided_at: dt.datetime
    policy_sha256: str


def write_evidence(paths: ReleasePaths, evidence: Evidence, decision: Decision) -> Path:
    """Keep what ``decision`` was computed from beside it; return the file.

    Raises:
        InvalidInputError: it belongs to no release, or the decision is about something else.
    """
    if evidence.release_id is None:
        raise InvalidInputError("evidence without release_id can't be kept: nobody could find it again")
    if (decision.run_id, decision.release_id) != (evidence.run_id, evidence.release_id):
        raise InvalidInputError(
            f"a decision on run {decision.run_id!r} for release {decision.release_id!r} was not computed from evidence "
            f"on run {evidence.run_id!r} for release {evidence.release_id!r}"
        )
    users = evidence.per_user
    metrics = None if isinstance(users, Missing) else sorted({*users.candidate, *users.current})
    rest = evidence if metrics is None else replace(evidence, per_user=_ELSEWHERE)
    document = {
        "schema_version": SCHEMA_VERSION,
        "stage": decision.stage,
        "verdict": decision.verdict.value,
        "decided_at": encoded(decision.decided_at, dt.datetime),
        "policy_sha256": decision.policy_sha256,
        "per_user_metrics": metrics,
        "evidence": encoded(rest, Evidence),
    }
    path = evidence_path(paths, evidence.release_id, decision.stage)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_atomic(path, gzip.compress(text.encode(), mtime=0))
    return path


def read_evidence(
    paths: ReleasePaths, release_id: str, stage: Stage, *, metrics: Iterable[str] | None = None
) -> Evidence | None:
    """Return the evidence of a release's decision, as :func:`read_kept` does."""
    kept = read_kept(paths, release_id, stage, metrics=metrics)
    return None if kept is None else kept.evidence


def read_kept(
    paths: ReleasePaths, release_id: str, stage: Stage, *, metrics: Iterable[str] | None = None
) -> Kept | None:
    """Return the evidence of a release's decision, with the values of single users; None: none was kept.

    Args:
        paths: the installation.
        release_id: the release.
        stage: of the decision.
        metrics: those to read of every user; default: those that the decision was computed from; none: users are not read.

    Raises:
        InvalidInputError: it is not a release id, or the values of single users are no longer those of the decision.
        StateCorruptError: the file is damaged, of another version, or about another release.
    """
    path = evidence_path(paths, release_id, stage)
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StateCorruptError(f"{path} is not readable evidence: {error}") from error
    kept = _kept(document, path)
    if kept.evidence.release_id != release_id or document.get("stage") != stage:
        raise StateCorruptError(f"{path} holds the {document.get('stage')} evidence of {kept.evidence.release_id!r}")
    known = document.get("per_user_metrics")
    wanted = frozenset(known or () if metrics is None else metrics)
    if known is None or not wanted:
        return kept
    users = _users(paths, kept.evidence, wanted)
    return replace(kept, evidence=replace(kept.evidence, per_user=users))


def _kept(document: Any, path: Path) -> Kept:
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        found = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(found, int) and found > SCHEMA_VERSION:
            raise StateCorruptError(f"{path}: {too_new(found, SCHEMA_VERSION)}")
        raise StateCorruptError(f"{path} has schema_version {found!r}, this version reads {SCHEMA_VERSION}")
    try:
        return Kept(
            evidence=decoded(document.get("evidence"), Evidence),
            verdict=Verdict(decoded(document.get("verdict"), str)),
            decided_at=decoded(document.get("decided_at"), dt.datetime),
            policy_sha256=decoded(document.get("policy_sha256"), str),
        )
    except ValueError as error:
        raise StateCorruptError(f"{path} is not valid evidence: {error}") from error


def _users(paths: ReleasePaths, evidence: Evidence, metrics: frozenset[str]) -> PerUser:
    path = paths.evaluation_of(evidence.run_id) / PER_USER_NAME
    name = path.relative_to(paths.evaluation).as_posix()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{name} is gone, and with it the values of single users: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != evidence.files.get(name):
        raise InvalidInputError(f"{name} was written again since the decision: its values are others")
    return per_user(data, metrics)
