"""Say what is done, how many rows it was and how long it took."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_log = logging.getLogger("pipeline")


@dataclass
class Step:
    """One step under way; set ``rows`` when they are known, ``note`` to add something to the line."""

    what: str
    rows: int | None = None
    note: str = ""


@contextmanager
def step(what: str) -> Iterator[Step]:
    """Log ``what`` when it begins, and its rows and seconds when it is done."""
    _log.info("%s ...", what)
    started = time.perf_counter()
    doing = Step(what)
    yield doing
    rows = f"{doing.rows:,} rows, " if doing.rows is not None else ""
    note = f" ({doing.note})" if doing.note else ""
    _log.info("%s: %s%.1f s%s", what, rows, time.perf_counter() - started, note)


def log_to_terminal() -> None:
    """Show the pipeline's log on standard error: for command lines, never for a library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
