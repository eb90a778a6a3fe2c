"""Try a policy before it may block: on past releases, on equal runs, and on runs that are worse by a known amount.

Judges with the code that the gate judges with, and changes nothing.  Each part that can't be simulated is named with
the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.past_releases import newest_comparison, newest_trial, past_decisions
from model_release.command import DONE, attempt, checked, usage
from model_release.errors import ConfigurationError, InvalidInputError
from model_release.gate.options import Commands, add_policy, console, policy_of
from model_release.gate.simulate_options import above, counted, share, share_of_check
from model_release.gate.simulate_tables import replay_table, tally_table
from model_release.identifiers import check_run_id
from model_release.ledger import LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy import Policy
from model_release.simulation.offline import simulate_offline
from model_release.simulation.online import describe, simulate_online, traffic_for
from model_release.simulation.replay import replay
from model_release.simulation.tally import Tally
from model_release.simulation.traffic import Traffic, Worse

PARTS = ("replay", "offline", "online")
_REGRESSIONS, _LATENCY_FACTORS = (0.01, 0.05), (2.0,)


@dataclass(frozen=True)
class Part:
    """What one part of the simulation found: tables for people and the same for machines."""

    shown: list[RenderableType]
    document: Any


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "simulate", help="try a policy on past, equal and worse runs", description=__doc__
    )
    add_policy(parser)
    parser.add_argument("--only", choices=PARTS, action="append", help="simulate this part only; may be repeated")
    parser.add_argument("--repeats", type=counted, default=100, help="simulated releases per line (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same releases (default 0)")
    parser.add_argument(
        "--regression", type=share, action="append", metavar="SHARE",
        help="how much worse: offline this share of the metric, online this share of answers more; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--latency-factor", type=above(1.0), action="append", metavar="FACTOR",
        help="how many times slower the candidate answers; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--run-id", type=checked(check_run_id), help="the evaluation to draw users from; default: newest"
    )
    trial = parser.add_argument_group("the simulated trial")
    trial.add_argument("--mode", choices=("shadow", "canary"), default="canary")
    trial.add_argument("--requests-per-second", type=above(0.0), default=50.0, help="to all replicas (default 50)")
    trial.add_argument("--rollout", type=share, default=0.1, help="share of the candidate (default 0.1)")
    trial.add_argument("--users", type=counted, default=10_000, help="who come at all (default 10000)")
    trial.add_argument(
        "--share", type=share_of_check, action="append", default=[], metavar="CHECK=SHARE",
        help="share that a ratio check sees in good times; default: as in the newest kept trial, else a guess that is told",
    )  # fmt: skip
    trial.add_argument(
        "--latency-median", type=above(0.0), metavar="SECONDS", help="default: as in the newest kept trial"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=lambda options, paths: run(parser, options, paths))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace, paths: ReleasePaths) -> int:
    """Simulate each part, print what was found, and return the exit status."""
    with usage(parser):
        policy = policy_of(options)
        _check_shares(policy, dict(options.share))
    options.regression = options.regression or list(_REGRESSIONS)
    options.latency_factor = options.latency_factor or list(_LATENCY_FACTORS)
    return attempt(lambda: _simulate(policy, options, paths))


def _simulate(policy: Policy, options: argparse.Namespace, paths: ReleasePaths) -> int:
    entries = FileLedger(paths).read()
    makers: dict[str, Callable[[], Part]] = {
        "replay": lambda: _replay(policy, paths, entries),
        "offline": lambda: _offline(policy, options, paths),
        "online": lambda: _online(policy, options, paths, entries),
    }
    document: dict[str, Any] = {"policy": policy.name, "policy_sha256": policy.sha256, "seed": options.seed}
    shown: list[RenderableType] = []
    for name in options.only or PARTS:
        try:
            part = makers[name]()
        except InvalidInputError as error:
            part = Part([Text(f"{name}: not simulated, because {error}", "yellow")], {"not_simulated": str(error)})
        document[name] = part.document
        shown += [*part.shown, ""]
    if options.json:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        console().print(*shown, sep="\n")
    return DONE


def _replay(policy: Policy, paths: ReleasePaths, entries: list[LedgerEntry]) -> Part:
    replayed = replay(policy, past_decisions(paths, entries, policy), entries)
    if not replayed:
        raise InvalidInputError("the ledger has no decision of a gate")
    return Part(replay_table(replayed), [one.document() for one in replayed])


def _offline(policy: Policy, options: argparse.Namespace, paths: ReleasePaths) -> Part:
    past = newest_comparison(paths, policy, options.run_id)
    tallies = [
        simulate_offline(
            policy, past.evaluation, past.per_user, regression=regression, repeats=options.repeats, seed=options.seed
        )
        for regression in (0.0, *options.regression)
    ]
    about = (
        f"{past.evaluation.users} users of the evaluation of {past.evaluation.run_id} against {past.evaluation.against}, "
        "drawn with replacement, their two values by lot"
    )
    return _tallied("Before a trial", about, tallies)


def _online(policy: Policy, options: argparse.Namespace, paths: ReleasePaths, entries: list[LedgerEntry]) -> Part:
    traffic = traffic_for(
        policy,
        Traffic(
            mode=options.mode,
            requests_per_second=options.requests_per_second,
            rollout=options.rollout,
            users=options.users,
            shares=dict(options.share),
            latency_median=options.latency_median,
        ),
        newest_trial(paths, entries),
    )
    cases = [Worse(), *(Worse(shares=by) for by in options.regression)]
    cases += [Worse(latency=factor) for factor in options.latency_factor]
    tallies = [simulate_online(policy, traffic, worse, repeats=options.repeats, seed=options.seed) for worse in cases]
    return _tallied("On trial", describe(policy, traffic), tallies)


def _tallied(title: str, about: str, tallies: list[Tally]) -> Part:
    return Part(
        tally_table(title, about, tallies), {"about": about, "scenarios": [tally.document() for tally in tallies]}
    )


def _check_shares(policy: Policy, shares: dict[str, float]) -> None:
    known = set() if policy.online is None else {check.name for check in policy.online.checks if check.kind == "ratio"}
    unknown = sorted(set(shares) - known)
    if unknown:
        raise ConfigurationError(
            f"--share {unknown[0]}: no ratio check has this name; there are {', '.join(sorted(known)) or 'none'}"
        )
