"""Keep a run from being pruned, whatever its age: a hold, with who and why, in the ledger.

Without arguments: the runs on hold.  --end ends a hold, with a reason as well.  Where the installation is,
MODEL_RELEASE_HOME says; else it is the current folder.

Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.run_pruning import hold
from model_release.command import DONE, attempt, checked, parser_of, usage
from model_release.contract import utc_now, utc_text
from model_release.errors import InvalidInputError
from model_release.gate.options import console
from model_release.holds import holds
from model_release.identifiers import check_run_id
from model_release.paths import ReleasePaths

_SHORTEST = 3  # signs of a reason


def main(arguments: Sequence[str] | None = None) -> int:
    """List the holds, or change one; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with usage(parser):
        if options.run_id is None and (options.by or options.reason or options.end):
            raise InvalidInputError("name the run to hold")
        if options.run_id is not None and not (options.by and options.reason):
            raise InvalidInputError("--by and --reason are needed: whoever runs out of disk will want to know")
    paths = ReleasePaths.from_environment()
    return attempt(lambda: _list(paths) if options.run_id is None else _change(paths, options))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("model_release.hold", __doc__)
    parser.add_argument("run_id", nargs="?", type=checked(check_run_id), help="the run; none: list the holds")
    parser.add_argument("--by", type=checked(_said), help="who wants it kept")
    parser.add_argument("--reason", type=checked(_said), help="what for, or why no longer")
    parser.add_argument("--end", action="store_true", help="end the hold")
    return parser


def _said(text: str) -> str:
    words = " ".join(text.split())
    if len(words) < _SHORTEST:
        raise InvalidInputError(f"{text!r} says nothing: {_SHORTEST} signs at least")
    return words


def _list(paths: ReleasePaths) -> int:
    held = holds(FileLedger(paths).read())
    if not held:
        sys.stdout.write("no run is on hold\n")
        return DONE
    table = Table("run", "since", "by", "reason")
    for run_id, entry in held.items():
        table.add_row(*map(Text, (run_id, utc_text(entry.at), entry.by, entry.reason)))
    console().print(table)
    return DONE


def _change(paths: ReleasePaths, options: argparse.Namespace) -> int:
    hold(paths, options.run_id, held=not options.end, reason=options.reason, by=options.by, now=utc_now())
    told = "no longer on hold" if options.end else "on hold: it is not pruned until the hold is ended"
    sys.stdout.write(f"{options.run_id} is {told}\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
