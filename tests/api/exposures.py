"""Answers to record, and what the log holds of them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_release.adapters.exposure_files import named_files
from model_release.exposures import Exposure, Outcome, complete, parse
from model_release.paths import ReleasePaths
from recommendation_api.exposure_log import Record
from recommendation_api.settings import Settings

NOON = 3_977_208_000.0  # 12 January 2096, 12:00 UTC: not over yet, so no file of it is closed or removed
DAY_SECONDS = 86_400


def settings_of(root: Path, **values: Any) -> Settings:
    """Return settings with a log that is written often."""
    return Settings.model_validate(
        {"paths": ReleasePaths(root), "replica": "api-1", "exposure_flush_seconds": 0.01, **values}
    )


def answer(request_id: str = "r-1", at: float = NOON, *, items: tuple[str, ...] = ("i1", "苹果")) -> Record:
    """Return an answer as the hot path appends it."""
    return (at, request_id, "recommend", "用户三", 10, "run-a", "current", None, 3, items, True, None, 0.0002)


def files(root: Path) -> list[Path]:
    """Return the files of the log, oldest first."""
    return [path for _, path in named_files(root / "data" / "exposures")]


def logged(root: Path) -> list[Exposure | Outcome]:
    """Return every complete line of the log; each has to be a valid one."""
    return [parse(line) for path in files(root) for line in complete(path.read_bytes()).splitlines()]


def request_ids(root: Path) -> list[str | None]:
    """Return what the log holds, by request id."""
    return [record.request_id for record in logged(root)]


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes: the system refuses as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
