"""``python -m tests.soak``: releases and rollbacks in a row under traffic, and whether anything leaks.  See docs/soak.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_release.contract import utc_now
from tests.docs_pages import DOCS, write_page
from tests.soak import in_airflow, soak
from tests.soak.growth import ALLOWED, IN_AIRFLOW, growth, limit

PAGE = DOCS / "soak.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0 if everything held, 1 if not."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        part, text, problems = _run(Path(folder), asked)
    _say(text)
    if asked.write_docs:
        write_page(part, f"\n{text}\n", PAGE)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--airflow", action="store_true", help="by the DAGs of a real Airflow, whose processes are measured"
    )
    which.add_argument(
        "--trivial", action="store_true", help="a real Airflow with tasks that do nothing, to compare with it"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="with Airflow: no round begins after so many")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/soak.md")
    return parser


def _run(folder: Path, asked: argparse.Namespace) -> tuple[str, str, list[str]]:
    """Return the part of the page that was made, its text, and what was wrong."""
    if not asked.airflow and not asked.trivial:
        found = soak.run(folder, rounds=asked.rounds, replicas=asked.replicas, workers=asked.workers, say=_say)
        return "soak", report(found), found["problems"]
    rounds = min(asked.rounds, in_airflow.MOST_ROUNDS)
    found = in_airflow.run(folder, rounds=rounds, minutes=asked.minutes, trivial=asked.trivial, say=_say)
    part = "trivial" if asked.trivial else "airflow"
    return part, in_airflow_report(found, trivial=asked.trivial), found["problems"]


def report(found: Mapping[str, Any]) -> str:
    """Return what was found, as Markdown."""
    head = (
        f"{found['rounds']} releases, each with a trial before it, and {found['rollbacks']} rollbacks in {found['seconds']:.0f} s "
        f"({found['slowest']:.1f} s the slowest round), {_where()}; "
        f"{found['replicas']} replicas with {found['workers']} workers each. {_answered(found)} "
        f"{found['pruned']} runs and leftovers pruned. The ledger has {found['ledger_kib']} KiB."
    )
    return _page(head, found, ALLOWED)


def in_airflow_report(found: Mapping[str, Any], *, trivial: bool) -> str:
    """Return what was found with Airflow, as Markdown."""
    time = f"in {found['seconds']:.0f} s ({found['slowest']:.0f} s the slowest round), {_where()}, {found['load']} at the end"
    if trivial:
        return _page(f"{found['rounds']} DAG runs whose tasks do nothing, {time}.", found, IN_AIRFLOW)
    head = (
        f"{found['rounds']} releases and {found['rollbacks']} rollbacks by Airflow {time}; one replica with {found['workers']} "
        f"workers. {_answered(found)} {found['pruned']} runs pruned."
    )
    return _page(head, found, IN_AIRFLOW)


def _where() -> str:
    return f"on {utc_now():%Y-%m-%d}, {os.cpu_count()} cores"


def _answered(found: Mapping[str, Any]) -> str:
    return (
        f"{found['answered']} requests answered, **{found['lost']} lost**; {found['runs_that_answered']} runs answered."
    )


def _page(head: str, found: Mapping[str, Any], allowed: Mapping[str, float]) -> str:
    lines = ["| what | first | after a third | last | most | growth | allowed |", "|---|---|---|---|---|---|---|"]
    for name, values in found["series"].items():
        shown = (values[0], values[len(values) // 3], values[-1], max(values), growth(values))
        most = limit(name, allowed)
        last = f"{most:g}" if most < float("inf") else "by design"
        lines.append(f"| {name} | {' | '.join(f'{one:.1f}' for one in shown)} | {last} |")
    problems = "\n".join(f"- {one}" for one in found["problems"]) or "- nothing"
    return "\n\n".join([head, "\n".join(lines), f"What was wrong:\n\n{problems}"])


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
