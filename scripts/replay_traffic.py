"""Replay a day of the configured log against a running recommendation API: what people asked for, and what they then took.

Each time that somebody took something that day, they first ask for recommendations, some minutes before by the log's
clock, and then say what they took.  Outcomes carry the time at which they are sent: the log's own lies in the past.

Exit status: 0 everything was answered and taken, 1 something was not, 2 wrong usage, 130 interrupted; what was done by then
is told always.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from model_release.adapters.tokens import token_of
from model_release.command import DONE, FAILED, attempt, checked, usage
from pipeline.config import load_config
from pipeline.reconciliation.day import parse_date
from scripts.replay import Pace, Replay, plan

TOKEN = "RECOMMENDATION_EVENTS_TOKEN"  # noqa: S105  (the variable's name)
INTERRUPTED = 128 + signal.SIGINT
_HERE = "http://127.0.0.1:8000"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    found = argparse.ArgumentParser(
        prog="python -m scripts.replay_traffic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "--date",
        metavar="DATE",
        type=checked(parse_date),
        help="a day of the log, in source.timezone; default: its last one",
    )
    found.add_argument("--url", action="append", metavar="URL", help=f"a replica; repeatable; default: {_HERE}")
    found.add_argument(
        "--speed", type=_positive, default=1440.0, help="of the log's time; inf: nobody waits; default: 1440"
    )
    found.add_argument("--users", type=_whole, help="only so many users; default: all of the day")
    found.add_argument("--concurrency", type=_whole, default=8, help="users at the same time; default: 8")
    found.add_argument("--k", type=_whole, default=20, help="length of the lists; default: 20")
    found.add_argument("--no-events", action="store_true", help="ask only, and say nothing of what was taken")
    found.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    return found


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    command = parser()
    options = command.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts jobs in the background without it
    with usage(command):
        config = load_config(options.config)
        pace = Pace(speed=options.speed, concurrency=options.concurrency, k=options.k)
        replay = Replay(options.url or [_HERE], pace, token=token_of(os.environ, TOKEN), events=not options.no_events)

    def work() -> int:
        visits = plan(config, options.date, options.users)
        print(f"{len(visits):,} visits of {len({visit.user for visit in visits}):,} users", flush=True)
        try:
            asyncio.run(replay.run(visits))
        except KeyboardInterrupt:
            print(f"interrupted\n{replay.tally}")
            return INTERRUPTED
        print(replay.tally)
        return DONE if replay.tally.whole else FAILED

    return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
