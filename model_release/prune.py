"""Remove old runs, as ``retention`` of the policy allows; --dry-run only says which, and why the others stay.

The current run, the one on trial, those that a rollback would go to, runs on hold (python -m model_release.hold) and
those of releases that have not ended always stay; so do evaluations and decisions of runs that went.

Exit status: 0 done, 1 it could not be done, 2 wrong usage, or a policy that can't be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from model_release.adapters.run_pruning import Pruner, Swept
from model_release.command import DONE, attempt, parser_of, usage
from model_release.contract import utc_now, utc_text
from model_release.gate.options import add_policy, console, policy_of
from model_release.paths import ReleasePaths

NOTHING = "the policy has no retention: nothing is ever pruned"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prune, or say what would be; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with usage(parser):
        retention = policy_of(options).retention
    if retention is None:
        sys.stdout.write(NOTHING + "\n")
        return DONE
    pruner = Pruner(ReleasePaths.from_environment(), retention, by=options.by)

    def work() -> int:
        swept = pruner.look(utc_now()) if options.dry_run else pruner.sweep(utc_now())
        _tell(swept, "would go" if options.dry_run else "went")
        return DONE

    return attempt(work)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("model_release.prune", __doc__)
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    add_policy(parser)
    parser.add_argument("--by", default="command line", help="who prunes, for the ledger (default: %(default)s)")
    return parser


def _tell(swept: Swept, gone: str) -> None:
    table = Table("run", "what", "why")
    for run_id, why in swept.runs.kept.items():
        table.add_row(Text(run_id), "stays", Text(why.value))
    for run_id, why in swept.staging.kept.items():
        table.add_row(Text(f"staging/{run_id}"), "stays", Text(why.value))
    for folder, run in [("", run) for run in swept.runs.doomed] + [("staging/", run) for run in swept.staging.doomed]:
        table.add_row(Text(folder + run.run_id), gone, Text(f"of {utc_text(run.at)}, {run.size} bytes"))
    console().print(table)
    count = len(swept.runs.doomed) + len(swept.staging.doomed)
    sys.stdout.write(f"{count} {gone}, {swept.freed} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
