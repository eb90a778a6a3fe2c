"""How often the intervals of the gate are wrong, by simulation: ``python -m benchmarks.interval_coverage``.

Draws samples of users whose true mean is known, and counts how often it lies beyond each one-sided 95 % bound; 5 % is
right.  A true mean above which the lower bound lies is a false PASS of a candidate that is exactly as bad as the margin.

``--only simulated``: differences that are mostly zero, as those of rankings are, and else symmetric, skewed to gains or to
losses.  ``--only real``: those of every user of the demo's data between two runs that this command trains (two
minutes); users are drawn from them with replacement, so that their own mean is the true one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.pipeline import measured
from model_release.bootstrap import bootstrap_interval
from model_release.statistics import Floats, Interval, t_interval

CONFIDENCE = 0.95
CHANGED = 0.3  # share of users whose list got better or worse
SIZE = 0.1
RESAMPLES = 1000
METHODS = ("t", "studentized", "bootstrap")
WEEKS = ("2017-12-17", "2017-12-24")
METRICS = ("ndcg_at_10", "recall_at_20", "map_at_10", "hit_rate_at_10")

Draw = Callable[[np.random.Generator, int], Floats]


def _symmetric(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < CHANGED, rng.normal(0.0, SIZE, n), 0.0)


def _gains(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < CHANGED, rng.exponential(SIZE, n), 0.0) - CHANGED * SIZE


SIMULATED: Mapping[str, Draw] = {
    "symmetric": _symmetric,
    "gains": _gains,
    "losses": lambda rng, n: -_gains(rng, n),
}


def of_population(values: Floats) -> Draw:
    """Draw users of a population (users,) with replacement; the mean is taken off, so that the true one is 0."""
    centred: Floats = np.asarray(values - values.mean())

    def draw(rng: np.random.Generator, n: int) -> Floats:
        return np.take(centred, rng.integers(len(centred), size=n))

    return draw


def of_equals(values: Floats) -> Draw:
    """Draw the same, but let a coin say for every user which run is the candidate: two equal ones."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        drawn: Floats = np.take(values, rng.integers(len(values), size=n))
        signs: Floats = rng.choice(np.array([-1.0, 1.0]), size=n)
        return drawn * signs

    return draw


def real(home: Path, first: tuple[str, str], second: tuple[str, str]) -> dict[str, tuple[Floats, Floats]]:
    """Train two runs, each an algorithm and a training cutoff, and judge both on the week after the second.

    Returns:
        By metric the values of the second run, the candidate, and of the first, the current one: (users,) each.
    """
    runs = []
    for algorithm, as_of in (first, second):
        trained = measured(home, "pipeline.train_models", "--algorithm", algorithm, "--as-of", as_of)
        runs.append(json.loads(trained.output)["run_id"])
    measured(home, "pipeline.evaluate", "--run", runs[1], "--against", runs[0])
    table = pq.read_table(home / "data" / "evaluation" / runs[1] / "per_user.parquet")
    everyone = np.array(table.column("item_slice").to_pylist()) == "all"

    def column(side: str, metric: str) -> Floats:
        return np.asarray(table.column(f"{side}_{metric}").to_numpy()[everyone], np.float64)

    return {metric: (column("candidate", metric), column("current", metric)) for metric in METRICS}


def populations(home: Path) -> dict[str, Draw]:
    """Return what is drawn from on the demo's data: a model trained again, in four metrics, and one of another kind."""
    again = real(home, ("next_basket", WEEKS[0]), ("next_basket", WEEKS[1]))
    other = real(home, ("popular", WEEKS[1]), ("personal_frequency", WEEKS[1]))
    found = {f"{metric}, a week later": of_population(new - old) for metric, (new, old) in again.items()}
    new, old = again["ndcg_at_10"]
    found["ndcg_at_10, a week later, either may be the candidate"] = of_equals(new - old)
    worse, better = sorted((new, old), key=np.mean)
    kept = float(worse.mean() / better.mean())  # 1 - the relative margin at which the worse run lies exactly
    found[f"ndcg_at_10, a week later, relative margin {1 - kept:.1%}"] = of_population(worse - kept * better)
    new, old = other["ndcg_at_10"]
    found["ndcg_at_10, another algorithm"] = of_population(new - old)
    return found


def wrong(method: str, draw: Draw, n: int, trials: int) -> tuple[float, float]:
    """Return the share of false PASS (0 below the lower bound) and of false FAIL (0 above the upper).

    ``method``: ``t``, ``studentized`` (the bootstrap alone), or ``bootstrap``, the outer of both, as the gate takes it.
    """
    rng = np.random.default_rng(20170101)
    above = below = 0
    for trial in range(trials):
        interval = _interval(method, draw(rng, n), seed=trial)
        above += interval.lower > 0
        below += interval.upper < 0
    return above / trials, below / trials


def _interval(method: str, sample: Floats, *, seed: int) -> Interval:
    by_t = t_interval(sample, CONFIDENCE)
    if method == "t":
        return by_t
    studentized = bootstrap_interval(sample, CONFIDENCE, resamples=RESAMPLES, seed=seed)
    return studentized if method == "studentized" else studentized.widened(by_t)


def table(shapes: Mapping[str, Draw], sizes: tuple[int, ...], trials: int) -> None:
    """Print how often each method is wrong for each shape and number of users."""
    heads = [f"{method}: {what}" for what in ("false PASS", "false FAIL") for method in METHODS]
    print(f"| differences | users | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
    for shape, draw in shapes.items():
        for n in sizes:
            found = [wrong(method, draw, n, trials) for method in METHODS]
            cells = [f"{100 * shares[side]:.1f} %" for side in (0, 1) for shares in found]
            print(f"| {shape} | {n} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interval_coverage", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--only", choices=("simulated", "real"))
    options = parser.parse_args()
    error = 1.96 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / options.trials)
    print(f"{options.trials} samples each; the simulation itself is uncertain by +/- {100 * error:.1f} points\n")
    if options.only in {None, "simulated"}:
        table(SIMULATED, (100, 400, 1600), options.trials)
    if options.only in {None, "real"}:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            shapes = populations(Path(folder))
        table(shapes, (100, 400, 1200), options.trials)
    return 0


if __name__ == "__main__":
    sys.exit(main())
