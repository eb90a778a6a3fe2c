"""How soon the gate stops a bad canary: ``python -m benchmarks.gate_detection --trials 10``.

For each trial a replica of two workers, a Prometheus that scrapes it every second, 150 requests per second of 5,000 users, a
fifth of whom get the candidate, and the gate's own look every two seconds.  The candidate fails at 5 % of its answers, takes
twice as long, or is healthy.  Needs the programs that ``scripts/debian_tools.sh`` fetches; the policy is that of the tests.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from scripts.monitoring_programs import tool
from tests.gate_live.faulty_api import Fault
from tests.gate_live.trial import FAILING, HEALTHY, SLOW, policy, trial

CANDIDATES = {
    "5 % of the answers fail": (FAILING, "reject"),
    "twice as slow": (SLOW, "reject"),
    "healthy": (HEALTHY, "release"),
}


def one(fault: Fault, seconds: float) -> tuple[str, float]:
    """Return what the gate did, after how many seconds of the trial."""
    asked = policy()
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder), fault) as begun:
        done = begun.wait(asked, seconds)
        return done, begun.age


def main() -> int:
    """Print the table; status 1 if a trial ended in another way than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="of each candidate")
    parser.add_argument("--seconds", type=float, default=180.0, help="after which a trial is given up")
    options = parser.parse_args()
    if tool("prometheus") is None:
        parser.error("prometheus not found: bash scripts/debian_tools.sh")
    print("| candidate | as it should | seconds, median | range |\n|---|---|---|---|")
    wrong = 0
    for name, (fault, expected) in CANDIDATES.items():
        found = [one(fault, options.seconds) for _ in range(options.trials)]
        right = sum(done == expected for done, _ in found)
        wrong += len(found) - right
        seconds = sorted(age for _, age in found)
        said = "rejected" if expected == "reject" else "passed"
        spread = f"{seconds[0]:.1f}-{seconds[-1]:.1f}"
        print(
            f"| {name} | {right} of {len(found)} {said} | {statistics.median(seconds):.1f} | {spread} |",
            flush=True,
        )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
