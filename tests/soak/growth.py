"""What a program holds, by /proc, and whether that grows from round to round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

KINDS = ("rss_mib", "descriptors", "threads", "gone_files")
# What is measured may end above where it began by so much, and no more: noise, not a leak.  A leak of one descriptor, thread
# or mapped file per round shows after these many rounds; one of memory, of 4 MiB times workers, too.
ALLOWED = {"rss_mib": 4.0, "descriptors": 3.0, "threads": 1.0, "gone_files": 2.0, "disk_kib": 8.0, "runs": 1.0}
# Of Airflow the database and the logs grow by design; pruning takes five rounds' runs at once.
IN_AIRFLOW = {**ALLOWED, "models runs": 3.0, "rows": math.inf, "mib": math.inf}


def held(pid: int) -> dict[str, float]:
    """Return what one process holds: memory, open files, threads, and mapped files of models that are deleted.

    Raises:
        FileNotFoundError, ProcessLookupError: it has ended.
    """
    folder = Path(f"/proc/{pid}")
    status = dict(_fields((folder / "status").read_text()))
    if "VmRSS" not in status:  # it waits for its parent to notice
        raise ProcessLookupError(f"process {pid} has ended")
    maps = (folder / "maps").read_text().splitlines()
    gone = {line.split(None, 5)[5] for line in maps if "/models/" in line and line.endswith("(deleted)")}
    return {
        "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
        "descriptors": len(list((folder / "fd").iterdir())),
        "threads": int(status["Threads"]),
        "gone_files": len(gone),
    }


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()


def slope(values: Sequence[float]) -> float:
    """Return by how much ``values`` grow per round: the median of the slopes of all pairs (Theil 1950, Sen 1968)."""
    pairs = [
        (later - earlier) / (second - first)
        for first, earlier in enumerate(values)
        for second, later in enumerate(values[first + 1 :], start=first + 1)
    ]
    return statistics.median(pairs) if pairs else 0.0


def growth(values: Sequence[float]) -> float:
    """Return how much more there is at the end than there was when it had warmed up: the first third does not count."""
    return slope(values[len(values) // 3 :]) * (len(values) - len(values) // 3)


def limit(name: str, allowed: Mapping[str, float]) -> float:
    """Return by how much a series may grow: it has a limit of its own, or that of its kind, the last part of its name."""
    return allowed.get(name, allowed[name.rpartition(" ")[2]])


def leaks(series: Mapping[str, Sequence[float]], allowed: Mapping[str, float] = ALLOWED) -> list[str]:
    """Return what grows by more than is ``allowed``, for people."""
    found = []
    for name, values in series.items():
        grown, most = growth(values), limit(name, allowed)
        if not grown <= most:
            found.append(f"{name} grew by {grown:.1f}, allowed are {most:g}")
    return found
