"""The page of a GitHub Actions job: what is appended to the file named by ``GITHUB_STEP_SUMMARY`` is shown there."""

from __future__ import annotations

from pathlib import Path

from model_release.report import step_summary
from model_release.report.ci import SUMMARY_BYTES
from model_release.verdict import Decision

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
_SHORTEST = 200


def append_summary(path: Path, decision: Decision) -> None:
    """Append the decision to ``path``, as far as GitHub's limit for one step leaves room.

    Raises:
        OSError: it can't be written.
    """
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0) - 1
    if room < _SHORTEST:
        return
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + step_summary(decision, max_bytes=room))
