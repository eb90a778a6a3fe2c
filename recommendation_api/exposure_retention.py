"""What is kept of the exposure log: so many bytes and so many days; the oldest files go first."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from model_release.adapters.exposure_files import named_files
from recommendation_api.exposure_file import being_written


def prune(folder: Path, *, now: dt.datetime, keep_bytes: float, keep_days: int) -> list[Path]:
    """Remove files whose day ended more than ``keep_days`` ago, then the oldest until ``keep_bytes`` hold the rest.

    The files of all workers and replicas that share the folder count.  A file that is being written is never removed, by
    whichever process, nor is a file whose name is not one of the log's.

    Returns:
        what was removed.

    Raises:
        OSError: the folder can't be listed, or a file can't be removed; the others are removed first.
    """
    files = [(name, path, _size(path)) for name, path in named_files(folder)]
    total = sum(size for _, _, size in files)
    first_kept = now.date() - dt.timedelta(days=keep_days)
    removed: list[Path] = []
    problem: OSError | None = None
    for name, path, size in files:
        if (name.day < first_kept or total > keep_bytes) and not being_written(path):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                problem = problem or error
            else:
                removed.append(path)
                total -= size
    if problem is not None:
        raise problem
    return removed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another worker prunes too
        return 0
