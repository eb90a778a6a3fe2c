"""Judge one run by the policy, once: before a trial from files, or while it is on trial from Prometheus."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path
from typing import assert_never

from model_release.adapters.evidence import collect, evaluated_runs
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.keeping import keep
from model_release.adapters.sources import Sources
from model_release.adapters.step_summary import SUMMARY_VARIABLE, append_summary
from model_release.command import DONE, FAILED, attempt, checked, usage
from model_release.errors import InvalidInputError
from model_release.gate.options import Commands, add_policy, console, policy_of
from model_release.identifiers import check_release_id, check_run_id
from model_release.judge import budgets_of, judge
from model_release.paths import ReleasePaths
from model_release.policy import Policy
from model_release.report import table
from model_release.verdict import Decision, Verdict


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check", help="judge one run by the policy; changes nothing that is served", description=__doc__
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run-id", type=checked(check_run_id), help="the run to judge")
    which.add_argument("--evaluated", action="store_true", help="the run with an evaluation, if it is the only one")
    which.add_argument("--on-trial", action="store_true", help="the run that is on trial now; with --stage online")
    parser.add_argument(
        "--stage", choices=("offline", "online"), default="offline", help="before a trial (default), or during it"
    )
    add_policy(parser)
    parser.add_argument(
        "--release-id", type=checked(check_release_id), help="keep decision, evidence and picture as this release's"
    )
    parser.add_argument("--json", action="store_true", help="print the decision as JSON instead of a table")
    parser.set_defaults(run=lambda options, paths: run(parser, options, paths))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace, paths: ReleasePaths) -> int:
    """Judge, keep, tell; return the exit status that stands for the verdict."""
    with usage(parser):
        if options.on_trial and options.stage != "online":
            raise InvalidInputError("--on-trial and --stage offline exclude each other: a trial is judged online")
        if options.evaluated and options.stage != "offline":
            raise InvalidInputError("--evaluated and --stage online exclude each other: name the run on trial")
        policy = policy_of(options)
        budgets_of(policy, options.stage)
        sources = Sources.from_environment()
    return attempt(lambda: _check(parser, options, paths, policy, sources))


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


def _check(
    parser: argparse.ArgumentParser, options: argparse.Namespace, paths: ReleasePaths, policy: Policy, sources: Sources
) -> int:
    with usage(parser):
        run_id = _run_id(options, paths)
    evidence = collect(paths, policy, run_id, options.release_id, options.stage, sources=sources)
    decision = judge(policy, evidence, dt.datetime.now(dt.UTC), options.stage)
    if decision.release_id is not None:
        keep(paths, decision, evidence)
    _show(decision, json=options.json)
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary:
        append_summary(Path(summary), decision)
    return exit_status(decision.verdict)


def _show(decision: Decision, *, json: bool) -> None:
    if json:
        sys.stdout.write(decision.model_dump_json(indent=2) + "\n")
    else:
        console().print(table(decision))


def _run_id(options: argparse.Namespace, paths: ReleasePaths) -> str:
    if options.on_trial:
        return _on_trial(paths)
    return _only_evaluated(paths) if options.evaluated else str(options.run_id)


def _on_trial(paths: ReleasePaths) -> str:
    candidate = FileRegistry(paths).read().candidate
    if candidate is None:
        raise InvalidInputError("--on-trial needs a run that is on trial, but the registry names no candidate")
    return candidate.run_id


def _only_evaluated(paths: ReleasePaths) -> str:
    """Return the one run that was evaluated: never "the latest", which is another run when two jobs meet."""
    runs = evaluated_runs(paths)
    if len(runs) != 1:
        found = f"{len(runs)} runs have an evaluation ({', '.join(runs[:5])})" if runs else "no run has an evaluation"
        raise InvalidInputError(f"--evaluated needs exactly one evaluated run, but {found}; name one with --run-id")
    return runs[0]
