"""``python -m tests.chaos``: inject faults into releases, and say what became of them.  See docs/chaos.md."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_release.contract import utc_now
from tests.chaos.faults import FAULTS, ON_SERVERS
from tests.chaos.lease import STEPS as LEASE_STEPS
from tests.chaos.lease import run_lease
from tests.chaos.matrix import Released, mixed, plan, release, run
from tests.chaos.scene import scene, tasks_of
from tests.chaos.stack import STEPS
from tests.chaos.tables import lease_table, matrix_tables, read_lines, services_table, write_page
from tests.executors.servers import Servers

COMMAND, MATRIX, LEASE, SERVICES = "command.txt", "results.jsonl", "lease.jsonl", "services.jsonl"
EACH_SERVICE: Mapping[str, str] = {  # what is killed, and the step that it does most harm to
    "triggerer killed": "judge_shadow_20",
    "scheduler killed": "canary_10",
    "API server killed": "canary_50",
    "DAG processor killed": "shadow_20",
    "Celery worker killed": "model_reload",
    "PostgreSQL killed": "judge_canary_50",
    "Redis killed": "judge_canary_10",
    "Prometheus killed": "judge_canary_10",
    "replica killed": "model_reload",
    "replica's worker killed": "verify",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if everything held, 1 if not."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    home = asked.home or Path(tempfile.mkdtemp(prefix="chaos-"))
    if asked.what == "report":
        return _report(home)
    home.mkdir(parents=True, exist_ok=True)
    words = arguments if arguments is not None else sys.argv[1:]
    (home / COMMAND).write_text(
        f"`{shlex.join(['scripts/chaos.sh', *words])}` on {utc_now():%Y-%m-%d}, {os.cpu_count()} cores."
    )
    _say(f"everything is in {home}")
    match asked.what:
        case "lease":
            well = _lease(home, asked.rounds or 20)
        case "services":
            well = _services(home, asked.rounds or 1)
        case _:
            well = _matrix(home, asked)
    if asked.write_docs:
        _report(home)
    return 0 if well else 1


def _matrix(home: Path, asked: argparse.Namespace) -> bool:
    with scene(home) as made:
        kinds = asked.fault or [kind for kind in FAULTS if kind not in ON_SERVERS]
        planned = (mixed if asked.mixed else plan)(kinds, made.steps)
        released = run(made, list(planned) * (asked.rounds or 1), home / MATRIX, _say)
    return _summed_up(released, home / MATRIX)


def _services(home: Path, rounds: int) -> bool:
    """Kill each service once, each in a release of its own, where Celery's workers do the work."""
    servers = Servers(home, "CeleryExecutor")
    planned = [(kind, {step: kind}) for kind, step in EACH_SERVICE.items()]
    try:
        with scene(home, servers=servers) as made:
            released = run(made, planned * rounds, home / SERVICES, _say)
    finally:
        servers.postgres.remove()
    return _summed_up(released, home / SERVICES) and all(one.injected for one in released[1:])


def _summed_up(released: Sequence[Released], results: Path) -> bool:
    """Say what came of it; return whether all is well."""
    broken = sum(bool(one.violations) for one in released)
    faults = sum(len(one.injected) for one in released)
    _say(f"{faults} faults in {len(released)} releases, {broken} with violations; {results}")
    return not broken


def _lease(home: Path, rounds: int) -> bool:
    with scene(home, steps=LEASE_STEPS) as made:
        first = release(made, "chaos_0", "no fault", {})
        if first.violations:
            _say(f"the first release: {first.violations}")
            return False
        found = run_lease(made, rounds, home / LEASE, _say)
    broken = sum(bool(one.violations) for one in found)
    _say(f"{len(found) - broken} of {len(found)} as promised; {home / LEASE}")
    return not broken


def _report(home: Path) -> int:
    """Write the tables of what a run left behind, also of one that did not come to its end."""
    head = (home / COMMAND).read_text(encoding="utf-8")
    if (home / MATRIX).exists():
        write_page("matrix", f"{head}\n\n{matrix_tables(read_lines(home / MATRIX), tasks_of(STEPS))}")
    if (home / SERVICES).exists():
        write_page("services", f"{head}\n\n{services_table(read_lines(home / SERVICES))}")
    if (home / LEASE).exists():
        write_page("lease", f"{head}\n\n{lease_table(read_lines(home / LEASE))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["matrix", "lease", "services", "report"],
        default="matrix",
        help="faults at every step (default); Airflow lost in a trial; each service killed once, on Celery, Redis and PostgreSQL; "
        "or write what is in --home into docs/chaos.md",
    )
    parser.add_argument("--rounds", type=int, help="how often (default: once; 20 times for lease)")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one; may be repeated")
    parser.add_argument("--mixed", action="store_true", help="another kind of fault at each step of a release")
    parser.add_argument("--home", type=Path, help="folder for everything (default: a new one)")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/chaos.md")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
