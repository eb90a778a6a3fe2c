"""``python -m tests.chaos``: inject faults into releases, and say what became of them.  See docs/chaos.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from model_release.contract import utc_now
from tests.chaos.faults import FAULTS
from tests.chaos.lease import STEPS as LEASE_STEPS
from tests.chaos.lease import run_lease
from tests.chaos.matrix import mixed, plan, release, run
from tests.chaos.scene import scene, tasks_of
from tests.chaos.stack import STEPS
from tests.chaos.tables import lease_table, matrix_tables, read_lines, write_page


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if everything held, 1 if not."""
    asked = _parser().parse_args(arguments)
    asked.rounds = asked.rounds or (20 if asked.what == "lease" else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    home = asked.home or Path(tempfile.mkdtemp(prefix="chaos-"))
    home.mkdir(parents=True, exist_ok=True)
    _say(f"everything is in {home}")
    match asked.what:
        case "lease":
            return _lease(home, asked)
        case "report":
            return _report(home)
        case _:
            return _matrix(home, asked)


def _matrix(home: Path, asked: argparse.Namespace) -> int:
    results = home / "results.jsonl"
    with scene(home) as made:
        steps = made.steps
        planned = (mixed if asked.mixed else plan)(asked.fault or list(FAULTS), steps)
        released = run(made, list(planned) * asked.rounds, results, _say)
    broken = sum(bool(one.violations) for one in released)
    _say(
        f"{sum(len(one.injected) for one in released)} faults in {len(released)} releases, {broken} with violations; {results}"
    )
    if asked.write_docs:
        write_page("matrix", _when("scripts/chaos.sh", asked) + matrix_tables(read_lines(results), steps))
    return 1 if broken else 0


def _lease(home: Path, asked: argparse.Namespace) -> int:
    results = home / "lease.jsonl"
    with scene(home, steps=LEASE_STEPS) as made:
        first = release(made, "chaos_0", "no fault", {})
        if first.violations:
            _say(f"the first release: {first.violations}")
            return 1
        found = run_lease(made, asked.rounds, results, _say)
    broken = sum(bool(one.violations) for one in found)
    _say(f"{len(found) - broken} of {len(found)} as promised; {results}")
    if asked.write_docs:
        write_page("lease", _when("scripts/chaos.sh lease", asked) + lease_table(read_lines(results)))
    return 1 if broken else 0


def _report(home: Path) -> int:
    """Write the tables of what a run left behind, also of one that did not come to its end."""
    for part, name, head in (
        ("matrix", "results.jsonl", "scripts/chaos.sh"),
        ("lease", "lease.jsonl", "scripts/chaos.sh lease"),
    ):
        file = home / name
        if file.exists():
            lines = read_lines(file)
            text = matrix_tables(lines, tasks_of(STEPS)) if part == "matrix" else lease_table(lines)
            write_page(part, f"`{head}`, {os.cpu_count()} cores.\n\n{text}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["matrix", "lease", "report"],
        default="matrix",
        help="faults at every step (default); Airflow lost in a trial; or write what is in --home into docs/chaos.md",
    )
    parser.add_argument(
        "--rounds", type=int, help="how often (default: each fault once at every step; 20 times for lease)"
    )
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one; may be repeated")
    parser.add_argument("--mixed", action="store_true", help="another kind of fault at each step of a release")
    parser.add_argument("--home", type=Path, help="folder for everything (default: a new one)")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/chaos.md")
    return parser


def _when(command: str, asked: argparse.Namespace) -> str:
    faults = "".join(f' --fault "{fault}"' for fault in asked.fault or ())
    return f"`{command} --rounds {asked.rounds}{faults}` on {utc_now():%Y-%m-%d}, {os.cpu_count()} cores.\n\n"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
