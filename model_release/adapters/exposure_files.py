"""Read the exposure log of a day: the files of all workers of all replicas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from model_release.explain import explain
from model_release.exposures import Exposure, FileName, Outcome, parse
from model_release.paths import ReleasePaths


@dataclass(frozen=True)
class Unreadable:
    """A file, or one complete line of it (1 is the first), that can't be read, and why."""

    path: Path
    line: int | None
    problem: str


def named_files(folder: Path) -> list[tuple[FileName, Path]]:
    """Return the log files in a folder, oldest first; files with other names are left out.

    Raises:
        OSError: the folder can't be listed.  A missing folder is not an error: nothing was ever written.
    """
    try:
        found = [(FileName.parse(path.name), path) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted((name, path) for name, path in found if name is not None)


def day_files(paths: ReleasePaths, day: dt.date) -> list[Path]:
    """Return the files of one UTC day, oldest first; an empty list means that nothing is known of that day."""
    return [path for name, path in named_files(paths.exposures) if name.day == day]


def read_day(
    paths: ReleasePaths, day: dt.date, unreadable: Callable[[Unreadable], None]
) -> Iterator[Exposure | Outcome]:
    """Yield the answers given, and the outcomes received, on one UTC day, file by file.

    Args:
        paths: the installation.
        day: a UTC day.
        unreadable: told of every file and every complete line that can't be read; the rest is read on.  A torn last line
            is what a killed writer leaves: it is skipped and not reported.
    """
    for path in day_files(paths, day):
        try:
            yield from _records(path, unreadable)
        except OSError as error:  # removed by the retention, or a right is missing
            unreadable(Unreadable(path, None, error.strerror or type(error).__name__))


def _records(path: Path, unreadable: Callable[[Unreadable], None]) -> Iterator[Exposure | Outcome]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = parse(line)
            except ValidationError as error:
                unreadable(Unreadable(path, number, explain(error)))
            else:
                yield record
