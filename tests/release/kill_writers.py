"""Kill writers of a registry or a ledger with SIGKILL, again and again, and look at what they leave.

A program of its own, because it forks: ``python kill_writers.py registry|ledger FOLDER KILLS SEED``.  Several writers
work at once; each reports through a pipe what was acknowledged to it.  One after the other is killed at a random
moment and replaced, while this process reads all the time.  Prints what it counted as JSON; ends 1 on a broken promise.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Registry, clear_latch, set_latch

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
WRITERS = 3
LONGEST_LIFE_SECONDS = 0.02
_ACK = struct.Struct("<q")


@dataclass
class Count:
    """What happened."""

    kills: int = 0
    acknowledged: list[int] = field(default_factory=list)
    written: int = 0
    leftovers: int = 0  # times that a temporary file of a killed writer was seen
    reads: int = 0


def toggle(registry: Registry) -> Registry:
    """Change the desired state every time."""
    return clear_latch(registry) if registry.latch else set_latch(registry, reason="why", by="who", at=NOW)


def write_registry(paths: ReleasePaths, number: int) -> int:  # noqa: ARG001  (one signature for both)
    """Make one change; what is acknowledged is its generation."""
    return FileRegistry(paths).update(toggle).generation


def write_ledger(paths: ReleasePaths, number: int) -> int:
    """Append one entry; what is acknowledged is its number."""
    entry = LedgerEntry(at=NOW, event=Event.NOTIFIED, release_id=f"release-{number}", by="writer", reason="原因" * 20)
    if not FileLedger(paths).append(entry):
        raise AssertionError(f"entry {number} was there before it was written")
    return number


def start(write: Callable[[ReleasePaths, int], int], paths: ReleasePaths, first: int) -> tuple[int, int]:
    """Fork a writer that writes for ever; return its process id and the pipe of its acknowledgements."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.close(reading)
        for number in range(first, sys.maxsize):
            os.write(writing, _ACK.pack(write(paths, number)))
    finally:
        os._exit(1)  # only an error gets here


def end(child: int, pipe: int) -> list[int]:
    """Kill a writer, and return everything that was acknowledged to it."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise AssertionError("a writer died of an error, not of the kill")
    content = b""
    while chunk := os.read(pipe, 1 << 16):
        content += chunk
    os.close(pipe)
    return [number for (number,) in _ACK.iter_unpack(content)]


def look(kind: str, paths: ReleasePaths, count: Count) -> None:
    """Read without a lock, as replicas do: it is always whole, and never goes back."""
    written = FileRegistry(paths).read().generation if kind == "registry" else len(FileLedger(paths).read())
    if written < count.written:
        raise AssertionError(f"it went back from {count.written} to {written}")
    count.written = written
    count.reads += 1


def main() -> None:
    """Kill, look, count."""
    kind, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    paths = ReleasePaths(folder)
    paths.models.mkdir(parents=True, exist_ok=True)
    write = write_registry if kind == "registry" else write_ledger
    chance = random.Random(seed)  # noqa: S311  (moments, not secrets)
    count = Count()
    writers = [start(write, paths, number * 1_000_000) for number in range(WRITERS)]
    try:
        while count.kills < kills:
            deadline = time.monotonic() + chance.uniform(0, LONGEST_LIFE_SECONDS)
            while time.monotonic() < deadline:
                look(kind, paths, count)
            count.acknowledged += end(*writers.pop(chance.randrange(len(writers))))
            count.kills += 1
            count.leftovers += any(paths.models.glob("*.tmp")) or any(paths.models.glob(".*.tmp"))
            look(kind, paths, count)
            writers.append(start(write, paths, (count.kills + WRITERS) * 1_000_000))
    finally:
        for writer in writers:
            count.acknowledged += end(*writer)
            count.kills += 1
    look(kind, paths, count)
    check(kind, paths, count)
    result = {"kills": count.kills, "acknowledged": len(count.acknowledged), "written": count.written}
    sys.stdout.write(json.dumps({**result, "leftovers": count.leftovers, "reads": count.reads}) + "\n")


def check(kind: str, paths: ReleasePaths, count: Count) -> None:
    """No acknowledged write is lost, none counts twice, and a kill adds at most the one that it interrupted."""
    acknowledged = len(count.acknowledged)
    if len(set(count.acknowledged)) != acknowledged:
        raise AssertionError("a write was acknowledged twice")
    if not acknowledged <= count.written <= acknowledged + count.kills:
        raise AssertionError(f"{acknowledged} acknowledged, {count.kills} kills, but {count.written} written")
    if kind == "ledger":
        there = {int(entry.release_id.removeprefix("release-")) for entry in FileLedger(paths).read()}
        if not there.issuperset(count.acknowledged) or len(there) != count.written:
            raise AssertionError("an acknowledged entry is missing, or one stands there twice")
    elif max(count.acknowledged) > count.written:
        raise AssertionError("an acknowledged generation is newer than the registry")


if __name__ == "__main__":
    main()
