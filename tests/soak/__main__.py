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
from scripts.services import PROJECT
from tests.soak.growth import ALLOWED, growth
from tests.soak.soak import run

PAGE = PROJECT / "docs" / "soak.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0 if everything held, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/soak.md")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = run(Path(folder), rounds=asked.rounds, replicas=asked.replicas, workers=asked.workers, say=_say)
    text = report(found)
    _say(text)
    if asked.write_docs:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return 1 if found["problems"] else 0


def report(found: Mapping[str, Any]) -> str:
    """Return what was found, as Markdown."""
    head = (
        f"{found['rounds']} releases, each with a trial before it, and {found['rollbacks']} rollbacks in {found['seconds']:.0f} s "
        f"({found['slowest']:.1f} s the slowest round), on {utc_now():%Y-%m-%d}, {os.cpu_count()} cores; "
        f"{found['replicas']} replicas with {found['workers']} workers each. {found['answered']} requests answered, "
        f"**{found['lost']} lost**; {found['runs_that_answered']} runs answered. {found['pruned']} runs and leftovers pruned. "
        f"The ledger has {found['ledger_kib']} KiB."
    )
    lines = ["| what | first | after a third | last | most | growth | allowed |", "|---|---|---|---|---|---|---|"]
    for name, values in found["series"].items():
        shown = (values[0], values[len(values) // 3], values[-1], max(values), growth(values))
        allowed = ALLOWED[name.rpartition(" ")[2]]
        lines.append(f"| {name} | {' | '.join(f'{one:.1f}' for one in shown)} | {allowed:g} |")
    problems = "\n".join(f"- {one}" for one in found["problems"]) or "- nothing"
    return "\n\n".join([head, "\n".join(lines), f"What was wrong:\n\n{problems}"])


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
