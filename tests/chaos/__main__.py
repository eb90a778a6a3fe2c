"""``python -m tests.chaos``: inject faults into releases, and say what became of them.  See docs/chaos.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import AROUND_TASKS, FAULTS
from tests.chaos.matrix import chaos, plan, run


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if everything held, 1 if not."""
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how often each fault is done at every step (default: 2)")
    parser.add_argument(
        "--fault", action="append", choices=[*AROUND_TASKS, *FAULTS], help="only this one; may be repeated"
    )
    parser.add_argument("--home", type=Path, help="folder for everything (default: a new one)")
    asked = parser.parse_args(arguments)
    home = asked.home or Path(tempfile.mkdtemp(prefix="chaos-"))
    home.mkdir(parents=True, exist_ok=True)
    faults = asked.fault or [*AROUND_TASKS, *FAULTS]
    results = home / "results.jsonl"
    _say(f"everything is in {home}")
    with chaos(home) as made:
        released = run(made, plan(faults * asked.rounds), results, _say)
    injected = sum(len(one.injected) for one in released)
    broken = [one for one in released if one.violations]
    _say(f"{injected} faults in {len(released)} releases, {len(broken)} with violations; {results}")
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
