"""Compare the recommendation API with other servers, and with itself: ``python -m benchmarks.serving PART``.

Parts: ``peers``, requests/s, latency and memory against MLflow, BentoML and LitServe; ``change``, what requests see while
the model changes; ``growth``, our own cost by items, workers and shadow; ``all``, one after the other.

Everything runs on loopback, in processes that end with the command.  Needs the program ``wrk``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving import change, compare, growth, wrk
from benchmarks.serving.report import Report

PARTS = ("peers", "change", "growth")


def main() -> int:
    """Measure the parts that are asked for; return the exit status."""
    options = _options()
    try:
        wrk.check()
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    for part in PARTS if options.part == "all" else (options.part,):
        with tempfile.TemporaryDirectory(prefix="serving-") as folder:
            report = _parts(options)[part](Path(folder))
        report.write(options.output, docs=options.docs)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("part", choices=(*PARTS, "all"))
    parser.add_argument("--quick", action="store_true", help="a minute's version, to see that it works; never for docs")
    parser.add_argument("--rounds", type=int, help="rounds over all systems, or changes of each (default: 5; quick: 2)")
    parser.add_argument("--seconds", type=int, help="of one measurement (default: 8; quick: 2)")
    parser.add_argument("--items", type=int, default=10_000, help="of the catalogue in peers and change")
    parser.add_argument(
        "--environments", type=Path, default=Path(".cache/benchmarks"), help="where the peers are installed"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(".cache/benchmarks/results"), help="for JSON, table, picture"
    )
    parser.add_argument("--docs", action="store_true", help="put tables and pictures into docs/ too")
    options = parser.parse_args()
    if options.quick and options.docs:
        parser.error("--quick and --docs: figures of a minute don't belong into the documentation")
    return options


def _parts(options: argparse.Namespace) -> dict[str, Callable[[Path], Report]]:
    rounds = options.rounds or (2 if options.quick else 5)
    seconds = options.seconds or (2 if options.quick else 8)
    changes = options.rounds or (1 if options.quick else 3)
    many = (10_000, 100_000) if options.quick else (10_000, 100_000, 1_000_000)
    where, items = options.environments, options.items
    return {
        "peers": lambda folder: compare.run(folder, where, items=items, rounds=rounds, seconds=seconds),
        "change": lambda folder: change.run(folder, where, items=items, changes=changes),
        "growth": lambda folder: growth.run(folder, items=many, rounds=rounds, seconds=seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
