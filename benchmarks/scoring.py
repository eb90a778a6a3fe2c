"""What a run in the format ``factors`` costs at request time and at load: ``python -m benchmarks.scoring``.

For each size of catalogue, in a process of its own: milliseconds to verify, open and prefault a run of random 64-factor
vectors, MiB that the process then holds for itself, and CPU milliseconds per answer.  The ways to score are asked in
turn, the same questions, so that other load on the machine meets them alike; ratios are medians over the rounds.
``--items 10000 100000 1000000``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_release.adapters import factors
from model_release.adapters.factors import Factors
from model_release.adapters.run_files import RunFiles
from model_release.adapters.run_store import RunStore
from model_release.adapters.scoring import Coarse, HalfPrecision, Rows, Scores, SinglePrecision, best, norms_of
from model_release.artifact import FactorsFormat
from model_release.paths import ReleasePaths
from pipeline.config import load_config
from pipeline.train_models import train

_USERS, _FACTORS, _K, _ROUNDS, _QUESTIONS = 1_000, 64, 10, 15, 8
_SERVING = FactorsFormat(exclude_seen=False)
_NOBODY = np.empty(0, np.intp)


def private_mib() -> float:
    """Return the memory that is this process's own, in MiB: mapped files are shared and do not count."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("Anonymous:"))) / 1024


def timed(action: Callable[[], object]) -> float:
    """Return how many milliseconds of wall clock ``action`` takes."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def write(folder: Path, m: int) -> None:
    """Write a run of ``m`` items."""
    random = np.random.default_rng(m)
    factors.write(
        folder,
        _SERVING,
        user_ids=[f"user-{row}" for row in range(_USERS)],
        item_ids=[f"item-{row}" for row in range(m)],
        user_factors=random.standard_normal((_USERS, _FACTORS), np.float32),
        item_factors=random.standard_normal((m, _FACTORS), np.float32),
        popular=np.arange(100, dtype=np.int32),
    )


def argpartition(scores: Scores, query: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Rows:
    """Return the best rows as one would without further thought."""
    values = scores.items @ query.astype(np.float32)
    rows = np.argpartition(-values, _K)[:_K]
    found: Rows = rows[np.argsort(-values[rows])]
    return found


def ways(model: Factors) -> dict[str, Callable[[int], object]]:
    """Return the ways to answer, by name; each takes the row of a user."""
    scores, users = model._scores, model._users.astype(np.float64)  # the parts, not only the whole
    longest = float(norms_of(scores.items, "items").max())
    single = SinglePrecision(scores, longest)
    half = HalfPrecision(scores, longest, single)

    def exactly(coarse: Coarse) -> Callable[[int], Rows]:
        return lambda user: best(scores, coarse, users[user], _K, _NOBODY)[0]

    return {
        "argpartition": lambda user: argpartition(scores, users[user]),
        "float32, groups": exactly(single),
        "float16, faiss": exactly(half),
        "recommend": lambda user: model.recommend(f"user-{user}", _K),
        "similar": lambda user: model.similar(f"item-{user}", _K),
    }


def measure(folder: Path) -> None:
    """Print one row for the run in ``folder``."""
    before = private_mib()
    with RunFiles.at(folder) as files:
        verify = timed(lambda: [files.open(name).sha256() for name in files.names()])
        started = time.perf_counter()
        model = Factors(files, _SERVING)
        opened = (time.perf_counter() - started) * 1e3
    prefault = timed(model.prefault)
    memory = private_mib() - before
    asked = ways(model)
    times: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(_ROUNDS):
        for name, ask in asked.items():
            users = range(turn * _QUESTIONS, (turn + 1) * _QUESTIONS)
            started = time.process_time()
            for user in users:
                ask(user)
            times[name].append((time.process_time() - started) / _QUESTIONS * 1e3)
    reference = np.array(times["argpartition"])
    cells = [f"{np.median(values):.2f} ({np.median(np.array(values) / reference):.2f}x)" for values in times.values()]
    print(
        f"| {model.items:,} | {verify:.0f} / {opened:.0f} / {prefault:.1f} | {memory:.0f} | {' | '.join(cells)} |",
        flush=True,
    )


def recall(folder: Path, users: int) -> str:
    """Compare float16 with brute force in float64, for so many users of the run in ``folder``."""
    model = Factors(folder, _SERVING)
    scores = model._scores
    items, longest = scores.items.astype(np.float64), float(norms_of(scores.items, "items").max())
    half = HalfPrecision(scores, longest, SinglePrecision(scores, longest))
    hits = same = 0
    for query in model._users[:users].astype(np.float64):
        exact = np.argsort(-(items @ query), kind="stable")[:_K]
        found, _ = best(scores, half, query, _K, _NOBODY)
        hits += len(set(exact.tolist()) & set(found.tolist()))
        same += exact.tolist() == found.tolist()
    asked = len(model._users[:users])
    return f"{model.items:,} items, {asked} users: recall@{_K} {hits / (asked * _K):.5f}, same order {same / asked:.5f}"


def trained(home: Path) -> Path:
    """Train ``als`` on the demo's data; return the run's folder."""
    config = load_config()
    training = config.training.model_copy(update={"algorithm": "als", "serving": "factors"})
    paths = ReleasePaths(home)
    run = train(config.model_copy(update={"training": training}), paths)
    return RunStore(paths).folder(run.run_id)


def recalls() -> None:
    """Print how often float16 finds what brute force finds: random vectors, and those of ``als`` on the demo's data."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        write(Path(folder), 200_000)
        print(f"\nrandom vectors, {recall(Path(folder), 300)}")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        print(f"als on the demo's data, {recall(trained(Path(folder)), 3_000)}")


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--open", type=Path, help="measure the run in this folder, in this process")
    options = parser.parse_args()
    if options.open is not None:
        measure(options.open)
        return 0
    print(
        "| items | verify / open / prefault ms | MiB of its own | argpartition | float32, groups | float16, faiss ",
        end="",
    )
    print("| recommend | similar |\n|---|---|---|---|---|---|---|---|", flush=True)
    for m in options.items:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            write(Path(folder), m)
            subprocess.run([sys.executable, "-m", "benchmarks.scoring", "--open", folder], check=True)
    recalls()
    return 0


if __name__ == "__main__":
    sys.exit(main())
