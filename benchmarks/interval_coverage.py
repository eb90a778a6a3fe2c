"""How often the intervals of the gate are wrong, by simulation: ``python benchmarks/interval_coverage.py``.

Draws samples whose true mean is 0, and counts how often 0 lies beyond each one-sided 95 % bound; 5 % is right.  The
differences are mostly zero, as those of rankings are; the rest is symmetric, skewed to gains or skewed to losses.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from model_release.statistics import Floats, bootstrap_interval, t_interval

CONFIDENCE = 0.95
CHANGED = 0.3  # share of users whose list got better or worse
SIZE = 0.1
SHAPES = ("symmetric", "gains", "losses")


def draw(rng: np.random.Generator, shape: str, n: int) -> Floats:
    """Return differences (n,) whose true mean is 0."""
    changed = rng.random(n) < CHANGED
    if shape == "symmetric":
        return np.where(changed, rng.normal(0.0, SIZE, n), 0.0)
    gains: Floats = np.where(changed, rng.exponential(SIZE, n), 0.0) - CHANGED * SIZE
    return gains if shape == "gains" else -gains


def wrong(method: str, shape: str, n: int, trials: int) -> tuple[float, float]:
    """Return the share of false PASS (0 below the lower bound) and of false FAIL (0 above the upper)."""
    rng = np.random.default_rng(20170101)
    above = below = 0
    for trial in range(trials):
        sample = draw(rng, shape, n)
        if method == "t":
            interval = t_interval(sample, CONFIDENCE)
        else:
            interval = bootstrap_interval(sample, CONFIDENCE, resamples=1000, seed=trial)
        above += interval.lower > 0
        below += interval.upper < 0
    return above / trials, below / trials


def main() -> None:
    """Print the table, then how long one comparison takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    error = 1.96 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)
    print(f"{trials} samples each; the simulation itself is uncertain by +/- {100 * error:.1f} points\n")
    print("| differences | users | method | false PASS | false FAIL |\n|---|---|---|---|---|")
    for shape in SHAPES:
        for n in (100, 400, 1600):
            for method in ("t", "bootstrap"):
                passed, failed = wrong(method, shape, n, trials)
                print(f"| {shape} | {n} | {method} | {100 * passed:.1f} % | {100 * failed:.1f} % |", flush=True)
    print("\n| users | seconds for one bootstrap of 2000 resamples |\n|---|---|")
    for n in (1_000, 10_000, 100_000):
        sample = draw(np.random.default_rng(1), "gains", n)
        started = time.perf_counter()
        bootstrap_interval(sample, CONFIDENCE, resamples=2000, seed=0)
        print(f"| {n} | {time.perf_counter() - started:.2f} |")


if __name__ == "__main__":
    main()
