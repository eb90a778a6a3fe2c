"""Keep what became of a gate: the decision, what it was computed from, and how it looks."""

from __future__ import annotations

from model_release.adapters.decision_picture import write_picture
from model_release.adapters.decisions import write_decision
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
    write_evidence(paths, evidence, decision)
    write_decision(paths, decision)
    write_picture(paths, decision)
