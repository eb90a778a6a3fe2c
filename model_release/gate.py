"""The gate on the command line and in CI: ``python -m model_release.gate check --run-id RUN_ID``.

Exit status: 0 PASS, 1 ERROR (could not measure), 2 wrong usage (the policy too), 3 FAIL (rejected), 4 INCONCLUSIVE.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from rich.console import Console

from model_release.adapters.decisions import write_decision
from model_release.adapters.evidence import collect, evaluated_runs
from model_release.command import DONE, FAILED, attempt, checked, parser_of, usage
from model_release.errors import InvalidInputError
from model_release.identifiers import check_release_id, check_run_id
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.policy import default_policy_path, load_policy
from model_release.report import table
from model_release.verdict import Decision, Verdict

_NARROWEST = 140  # columns when the output is no terminal, as in a CI log


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    paths = ReleasePaths.from_environment()
    with usage(parser):
        run_id = options.run_id if options.run_id is not None else _only_evaluated(paths)
        policy = load_policy(options.policy or default_policy_path())

    def work() -> int:
        decision = judge(policy, collect(paths, policy, run_id, options.release_id), dt.datetime.now(dt.UTC))
        if decision.release_id is not None:
            write_decision(paths, decision)
        _show(decision, json=options.json)
        return exit_status(decision.verdict)

    return attempt(work)


def exit_status(verdict: Verdict) -> int:
    """Return the exit status that stands for a verdict."""
    match verdict:
        case Verdict.PASS:
            return DONE
        case Verdict.ERROR:
            return FAILED
        case Verdict.FAIL:
            return 3
        case Verdict.INCONCLUSIVE:
            return 4
        case _:
            assert_never(verdict)


def _show(decision: Decision, *, json: bool) -> None:
    if json:
        sys.stdout.write(decision.model_dump_json(indent=2) + "\n")
        return
    console = Console()
    console = console if console.is_terminal else Console(width=_NARROWEST)
    console.print(table(decision))


def _only_evaluated(paths: ReleasePaths) -> str:
    """Return the one run that was evaluated: never "the latest", which is another run when two jobs meet."""
    runs = evaluated_runs(paths)
    if len(runs) != 1:
        found = f"{len(runs)} runs have an evaluation ({', '.join(runs[:5])})" if runs else "no run has an evaluation"
        raise InvalidInputError(f"--evaluated needs exactly one evaluated run, but {found}; name one with --run-id")
    return runs[0]


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("model_release.gate", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="judge one run by the policy; changes nothing that is served")
    which = check.add_mutually_exclusive_group(required=True)
    which.add_argument("--run-id", type=checked(check_run_id), help="the run to judge")
    which.add_argument("--evaluated", action="store_true", help="the run with an evaluation, if it is the only one")
    check.add_argument("--policy", type=Path, help="default: $RELEASE_POLICY, else config/release_policy.yaml")
    check.add_argument(
        "--release-id", type=checked(check_release_id), help="keep the decision as this release's last one"
    )
    check.add_argument("--json", action="store_true", help="print the decision as JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
