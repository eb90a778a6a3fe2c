"""Say in words what a policy asks, or why a kept decision is what it is and what would have to change for PASS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from model_release.adapters.decisions import read_decision
from model_release.command import DONE, attempt, checked, usage
from model_release.errors import InvalidInputError
from model_release.gate.options import Commands, add_policy, console, policy_of
from model_release.gate.simulate_options import above, counted, share
from model_release.identifiers import check_release_id
from model_release.paths import ReleasePaths
from model_release.policy import AnyCheck, Policy
from model_release.report.decision_words import decision_words
from model_release.report.policy_words import check_words, error_budget
from model_release.simulation.online import MODES, describe, example_trial, traffic_for
from model_release.simulation.traffic import Traffic
from model_release.simulation.typical import typical_needs


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explain", help="a policy, or a kept decision, in words", description=__doc__
    )
    add_policy(parser)
    parser.add_argument("--release-id", type=checked(check_release_id), help="explain this release's kept decision")
    parser.add_argument("--stage", choices=("offline", "online"), help="of the decision; default: the last one")
    parser.add_argument("--requests-per-second", type=above(0.0), default=50.0, help="typical rate (default 50)")
    parser.add_argument("--rollout", type=share, default=0.1, help="typical share of the candidate (default 0.1)")
    parser.add_argument("--users", type=counted, default=10_000, help="who come at all (default 10000)")
    parser.set_defaults(run=lambda options, paths: run(parser, options, paths))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace, paths: ReleasePaths) -> int:
    """Explain; return the exit status."""
    with usage(parser):
        if options.release_id is not None and options.policy is not None:
            raise InvalidInputError("--release-id and --policy exclude each other: a decision, or a policy")
        if options.stage is not None and options.release_id is None:
            raise InvalidInputError("--stage without --release-id: it chooses among a release's decisions")
        policy = policy_of(options) if options.release_id is None else None
    lines = _policy(policy, options) if policy is not None else None
    return attempt(lambda: _print(lines if lines is not None else _decision(options, paths)))


def _print(lines: Iterator[RenderableType]) -> int:
    out = console()
    for line in lines:
        out.print(line)
    return DONE


def _decision(options: argparse.Namespace, paths: ReleasePaths) -> Iterator[RenderableType]:
    decision = read_decision(paths, options.release_id, options.stage)
    if decision is None:
        kind = f"{options.stage} decision" if options.stage else "decision"
        raise InvalidInputError(f"no {kind} of release {options.release_id!r} is kept")
    return (Text(line) for line in decision_words(decision))


def _policy(policy: Policy, options: argparse.Namespace) -> Iterator[RenderableType]:
    yield Text(f"Policy {policy.name} {policy.sha256[:12]}", "bold")
    yield Text("Always: no latch is set, and the run's files are those that were registered and evaluated.")
    yield Text(f"\nBefore a trial (waits {_budgets(policy)})", "bold")
    yield from _checks(policy.checks)
    if policy.online is not None:
        online = policy.online
        yield Text(f"\nOn trial (waits up to {online.budgets.inconclusive_minutes:g} minutes for answers)", "bold")
        yield Text(
            f"Always: this run is on trial for this release, and every replica ({online.replicas}) was scraped within "
            f"{online.maximum_age_seconds:g} s; no trial passes within {online.minimum_minutes:g} minutes."
        )
        yield from _checks(online.checks)
    yield Text("\nHow often it may be wrong", "bold")
    yield from (Text(line) for line in error_budget(policy))
    yield from _typical(policy, options)


def _checks(checks: tuple[AnyCheck, ...]) -> Iterator[RenderableType]:
    trial = example_trial("canary", 0.1)
    for check in checks:
        words = check_words(check, trial)
        yield Text(f"\n{words.name} ({words.kind}; {words.blocks})", "bold")
        yield Text(f"  {words.asks}")
        yield from (Text(f"  needs {need}") for need in words.needs)
        yield from (Text(f"  {verdict}") for verdict in words.verdicts)


def _budgets(policy: Policy) -> str:
    budgets = policy.budgets
    return f"{budgets.error_minutes:g} minutes for errors, {budgets.inconclusive_minutes:g} for more evidence"


def _typical(policy: Policy, options: argparse.Namespace) -> Iterator[RenderableType]:
    """Yield how many answers an equal run needs, check by check, where counts are as they are on average."""
    if policy.online is None:
        return
    yield Text("\nHow much an equal run needs on trial", "bold")
    for mode in MODES:
        given = Traffic(mode, options.requests_per_second, options.rollout, users=options.users)
        try:
            traffic = traffic_for(policy, given, None)
        except InvalidInputError as error:
            yield Text(f"{mode}: {error}")
            continue
        yield Text(describe(policy, traffic))
        for need in typical_needs(policy, traffic):
            yield Text(f"  {need.check}: {need.words}")
