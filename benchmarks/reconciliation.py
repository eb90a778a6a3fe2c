"""Processor time and memory of ``python -m pipeline.reconcile`` by the number of answers of a day: a log made up, a process each.

    python -m benchmarks.reconciliation 250000 1000000 4000000

One user in ten takes three items; an answer has twenty items of ten thousand, and a user gets four answers.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from model_release.exposures import FileName, timestamp
from model_release.paths import HOME_VARIABLE, ReleasePaths

DATE = dt.date(2026, 1, 12)
START = dt.datetime(2026, 1, 12, tzinfo=dt.UTC)
ITEMS, PER_USER, LINES_PER_FILE = 10_000, 4, 120_000
# what a process had before it became this one does not count: the kernel's own high-water mark, in kibibytes
_CHILD = """
import re, sys, time
from pathlib import Path
from pipeline.reconcile import main
assert main(sys.argv[1:]) == 0
print(time.process_time(), re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
CONFIG = """
schema_version: 1
source: {name: made up, interactions: {path: rows.parquet}}
repeat_purchases: true
"""


def write_log(paths: ReleasePaths, answers: int) -> int:
    """Write so many answers; return their bytes."""
    rng = np.random.default_rng(1)
    paths.exposures.mkdir(parents=True)
    names = [f"product-{number:06}" for number in range(ITEMS)]
    users = max(1, answers // PER_USER)
    size = 0
    for number, first in enumerate(range(0, answers, LINES_PER_FILE)):
        count = min(LINES_PER_FILE, answers - first)
        lists, seconds = rng.integers(0, ITEMS, (count, 20)), np.sort(rng.random(count)) * 43_200
        lines = [
            orjson.dumps(
                {
                    "schema_version": 1, "kind": "exposure", "at": timestamp(START.timestamp() + seconds[row]),
                    "request_id": f"{first + row:x}", "endpoint": "recommend", "id": f"customer-{(first + row) % users:08}",
                    "k": 20, "run_id": "20260105-next-basket-1111aaaa", "variant": "current", "release_id": None,
                    "generation": 1, "items": [names[item] for item in lists[row]], "known": True, "degraded": None,
                    "latency_ms": 0.2, "replica": "api-1", "worker": number,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for row in range(count)
        ]  # fmt: skip
        file = paths.exposures / str(FileName(start=START, replica="api-1", worker=number, number=0))
        size += file.write_bytes(b"".join(lines))
    return size


def write_interactions(folder: Path, answers: int) -> None:
    """Let one user in ten take three items in the afternoon, and others take something on other days."""
    rng = np.random.default_rng(2)
    users = max(10, answers // PER_USER)
    rows = 3 * users // 10
    who = [f"customer-{number:08}" for number in np.tile(np.arange(0, users, 10)[: rows // 3], 3)]
    what = [f"product-{number:06}" for number in rng.integers(0, ITEMS, len(who))]
    when = START.replace(tzinfo=None) + dt.timedelta(hours=20)
    frame = pl.DataFrame({"user_id": who, "item_id": what, "timestamp": [when] * len(who)})
    frame.write_parquet(folder / "rows.parquet")


def measure(answers: int) -> None:
    """Make a day, reconcile it in a process of its own, and print what that took."""
    with tempfile.TemporaryDirectory(prefix="reconciliation-") as folder:
        paths = ReleasePaths(Path(folder))
        size = write_log(paths, answers)
        write_interactions(paths.root, answers)
        config = paths.root / "pipeline.yaml"
        config.write_text(CONFIG)
        command = [sys.executable, "-c", _CHILD, "--date", str(DATE), "--config", str(config), "--report-only"]
        environment = {**os.environ, HOME_VARIABLE: folder}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        seconds, kibibytes = (float(number) for number in done.stdout.split()[-2:])
        peak = kibibytes * 1024 / 1e6
        print(f"| {answers:,} | {size / 1e6:,.0f} MB | {seconds:.1f} s | {peak:,.0f} MB |", flush=True)


def main() -> None:
    """Measure each number of answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=int, nargs="+")
    print("| answers | log | processor time | memory at most |\n|---|---|---|---|")
    for answers in parser.parse_args().answers:
        measure(answers)


if __name__ == "__main__":
    main()
