"""What the stages cost on the demo's data, and how good each algorithm is: ``python -m benchmarks.pipeline``.

Runs every stage as its own process in a throw-away folder, and prints wall-clock seconds, peak memory (resident set,
the largest of the stage's processes) and, per algorithm, the metrics on the test week.  ``--only stages|algorithms``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ALGORITHMS

PROJECT = Path(__file__).resolve().parent.parent
_KIB_PER_GIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """Of one process: ``seconds`` of wall clock, ``gib`` of peak resident memory, and what it printed."""

    seconds: float
    gib: float
    output: str


def measured(home: Path, *arguments: str) -> Cost:
    """Run ``python -m`` with ``arguments`` in ``home``.

    Raises:
        RuntimeError: it failed.
    """
    output = home / "stdout"
    started = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT,
            env={**os.environ, "MODEL_RELEASE_HOME": str(home)},
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return Cost(time.perf_counter() - started, usage.ru_maxrss / _KIB_PER_GIB, output.read_text())


def stages(home: Path, as_of: list[str]) -> None:
    """Print what the three stages cost with the configuration as it is."""
    costs = {
        "data quality": measured(home, "pipeline.data_quality_v2", *as_of),
        "train (auto)": measured(home, "pipeline.train_models", *as_of),
        "evaluate": measured(home, "pipeline.evaluate"),
    }
    print("| stage | seconds | peak GiB |\n|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.seconds:.1f} | {cost.gib:.2f} |")
    total, most = sum(cost.seconds for cost in costs.values()), max(cost.gib for cost in costs.values())
    print(f"| all | {total:.1f} | {most:.2f} |")
    print(f"\nchosen by auto: {json.loads(costs['train (auto)'].output)['algorithm']}\n")


def algorithms(home: Path, as_of: list[str]) -> None:
    """Print the metrics of every algorithm on the test week, best first."""
    rows: list[tuple[float, str]] = []
    for name in ALGORITHMS:
        train = measured(home, "pipeline.train_models", "--algorithm", name, *as_of)
        run_id = json.loads(train.output)["run_id"]
        measured(home, "pipeline.evaluate", "--run", run_id, "--against", "none")
        file = home / "data" / "evaluation" / run_id / "summary.json"
        summary: dict[str, Any] = json.loads(file.read_text())
        found, lists = summary["metrics"]["candidate"], summary["catalogue"]["candidate"]
        values = [*found.values(), lists["coverage"], lists["novelty"]]
        cells = " | ".join(f"{value:.4f}" for value in values)
        rows.append((found["ndcg_at_10"], f"| {name} | {cells} | {train.seconds:.1f} | {train.gib:.2f} |"))
    print(f"test week from {summary['window_start'][:10]}, {summary['users']} users\n")
    print(f"| algorithm | {' | '.join(found)} | coverage | novelty | train s | peak GiB |")
    print(f"|---|{'---|' * (len(found) + 4)}")
    print("\n".join(row for _, row in sorted(rows, reverse=True)))


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", choices=("stages", "algorithms"))
    parser.add_argument("--as-of", metavar="DATE", help="training cutoff; default: the last whole week")
    options = parser.parse_args()
    as_of = ["--as-of", options.as_of] if options.as_of else []
    for part, run in (("stages", stages), ("algorithms", algorithms)):
        if options.only in {None, part}:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:  # nothing is found trained already
                run(Path(folder), as_of)
    return 0


if __name__ == "__main__":
    sys.exit(main())
