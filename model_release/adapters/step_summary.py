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
    room = _room(path)
    if room >= _SHORTEST:
        _append(path, step_summary(decision, max_bytes=room))


def append_text(path: Path, markdown: str) -> None:
    """Append what is not longer than a few kilobytes to ``path``, unless that has no room.

    Raises:
        OSError: it can't be written.
    """
    if len(markdown.encode()) <= _room(path):
        _append(path, markdown)


def _room(path: Path) -> int:
    return SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0) - 1


def _append(path: Path, markdown: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + markdown)
