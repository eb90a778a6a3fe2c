"""Keep what became of a gate: the decision, what it was computed from, and how it looks."""

from __future__ import annotations

from model_release.adapters.decision_picture import picture_path, write_picture
from model_release.adapters.decisions import decision_path, read_decision, write_decision
from model_release.adapters.kept_evidence import write_evidence
from model_release.evidence import Evidence
from model_release.paths import ReleasePaths
from model_release.verdict import Decision


def keep(paths: ReleasePaths, decision: Decision, evidence: Evidence) -> None:
    """Write decision, evidence and picture of a release.

    Raises:
        InvalidInputError: they belong to no release, or not together.
        OSError: the disk does not take them.
    """
    keep_unseen(paths, decision, evidence)
    write_picture(paths, decision)


def keep_unseen(paths: ReleasePaths, decision: Decision, evidence: Evidence) -> None:
    """Write decision and evidence, and leave the picture to :func:`draw_missing`: drawing takes longer than judging.

    Raises:
        InvalidInputError: they belong to no release, or not together.
        OSError: the disk does not take them.
    """
    write_evidence(paths, evidence, decision)
    write_decision(paths, decision)


def draw_missing(paths: ReleasePaths, release_id: str) -> None:
    """Draw the last decision of a release, if there is one and its picture is not newer.

    Raises:
        InvalidInputError: it is not a release id.
        StateCorruptError: the decision's file is damaged.
        OSError: the disk does not take it.
    """
    decision = read_decision(paths, release_id)
    if decision is None:
        return
    drawn, written = picture_path(paths, release_id), decision_path(paths, release_id)
    if not drawn.exists() or drawn.stat().st_mtime_ns < written.stat().st_mtime_ns:
        write_picture(paths, decision)
