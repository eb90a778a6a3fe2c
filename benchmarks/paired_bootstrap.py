"""What the paired bootstrap costs: ``python -m benchmarks.paired_bootstrap``.

Draws values per user that look like those of ranking metrics, for two runs, and tests in every metric whether one is not
worse than the other, with the code that the gate runs for a policy of as many checks.  Each size is a process of its
own; peak memory is its largest resident set, the values and Python included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from model_release.checks.contrast import contrast_of
from model_release.checks.resampling import Asked, tested
from model_release.evidence import Floats, Paired
from model_release.policy import NonInferiorityPolicy, Slice
from model_release.statistics import t_interval

PROJECT = Path(__file__).resolve().parent.parent
SIZES = (10_000, 100_000, 1_000_000)
MARGIN = 0.001
CHANGED = 0.3  # share of users whose list got better or worse
_KIB_PER_GIB = 1 << 20


def comparisons(users: int, metrics: int, resamples: int) -> dict[str, Asked]:
    """Return what is to be tested: ``metrics`` contrasts of (users,) values, mostly without a difference."""
    rng = np.random.default_rng(20170101)
    nobody = np.empty(0, np.str_)  # who the users are plays no role here
    asked = {}
    for metric in range(metrics):
        current: Floats = rng.beta(0.4, 2.0, users)
        candidate = np.where(rng.random(users) < CHANGED, np.clip(current + rng.normal(0, 0.1, users), 0, 1), current)
        name = f"metric_{metric}"
        policy = NonInferiorityPolicy(
            name=name, kind="non_inferiority", metric=name, margin=MARGIN, resamples=resamples, minimum_users=100
        )
        contrast = contrast_of(policy, Paired(nobody, candidate, current))
        if contrast is None:
            raise RuntimeError("a margin in units of the metric has no contrast")
        asked[name] = Asked(policy, Slice(), contrast)
    return asked


def cost(users: int, metrics: int, resamples: int) -> dict[str, float]:
    """Return seconds, peak GiB, and how far the bounds lie from Student's at most, in standard errors."""
    asked = comparisons(users, metrics, resamples)
    started = time.perf_counter()
    found = tested(asked)
    seconds = time.perf_counter() - started
    off = []
    for name, each in found.items():
        by_t = t_interval(asked[name].contrast.values, asked[name].policy.confidence)
        ends = ((each.interval.lower, by_t.lower), (each.interval.upper, by_t.upper))
        off += [abs(ours - theirs) / by_t.standard_error for ours, theirs in ends]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_GIB
    return {"seconds": seconds, "gib": peak, "off": max(off)}


def main() -> int:
    """Measure every size in a process of its own and print the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired_bootstrap", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--users", type=int, help="measure this size only, and print JSON")
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    if options.users:
        sys.stdout.write(json.dumps(cost(options.users, options.metrics, options.resamples)) + "\n")
        return 0
    print(f"{options.metrics} metrics, {options.resamples} resamples, load average {os.getloadavg()[0]:.1f}\n")
    print(
        "| users | seconds | peak memory (GiB) | furthest from Student's bounds (standard errors) |\n|---|---|---|---|"
    )
    for users in SIZES:
        sizes = [f"--users={users}", f"--metrics={options.metrics}", f"--resamples={options.resamples}"]
        command = [sys.executable, "-m", "benchmarks.paired_bootstrap", *sizes]
        output = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
        found = json.loads(output)
        print(f"| {users:,} | {found['seconds']:.1f} | {found['gib']:.2f} | {found['off']:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
