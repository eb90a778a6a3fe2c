"""Back up the state of an installation while it runs, check a backup, and bring one back.

    create FILE    runs, registry, ledger, evaluations, decisions, configuration, the alert bridge's queue
    verify FILE    read every byte of it
    restore FILE   into an empty installation, or with --aside in the place of what is there

Where the installation is, MODEL_RELEASE_HOME says; else it is the current folder.

Exit status: 0 done, 1 it could not be done, 2 wrong usage, or a backup that can't be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_release.adapters.backup_restore import restore, verify_backup
from model_release.adapters.backup_write import make_backup
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.backups import Index
from model_release.command import DONE, USAGE, attempt, parser_of
from model_release.contract import utc_now, utc_text
from model_release.errors import InvalidInputError
from model_release.paths import ReleasePaths


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; return the exit status."""
    options = parser().parse_args(arguments)
    work = {"create": _create, "verify": _verify, "restore": _restore}[options.command]

    def carefully() -> int:
        try:
            return work(options)
        except InvalidInputError as error:
            sys.stderr.write(f"error: {error}\n")
            return USAGE

    return attempt(carefully)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the three commands."""
    found = parser_of("model_release.backup", __doc__)
    commands = found.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a backup")
    create.add_argument("file", type=Path, help="a file that is not there yet")
    create.add_argument(
        "--runs", choices=["all", "protected"], default="all", help="protected: only what pruning never takes"
    )
    create.add_argument("--with-exposures", action="store_true", help="with the exposure log")
    verify = commands.add_parser("verify", help="check a backup")
    verify.add_argument("file", type=Path)
    back = commands.add_parser("restore", help="bring a backup back")
    back.add_argument("file", type=Path)
    back.add_argument("--by", required=True, help="who restores, for ledger and latch")
    back.add_argument("--replica", action="append", default=[], help="address of a replica that runs; may be repeated")
    back.add_argument("--above", type=int, help="highest generation that any replica serves; 0: none runs")
    back.add_argument("--aside", action="store_true", help="move aside what is there")
    return found


def _create(options: argparse.Namespace) -> int:
    paths = ReleasePaths.from_environment()
    index = make_backup(
        paths, options.file, now=utc_now(), runs=options.runs, exposures=options.with_exposures
    )  # fmt: skip
    _tell(options.file, index)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    _tell(options.file, verify_backup(options.file))
    return DONE


def _restore(options: argparse.Namespace) -> int:
    if options.above is None and not options.replica:
        raise InvalidInputError(
            "which generation do replicas serve? Name each with --replica, or say --above; --above 0 if none runs"
        )
    served = [_served(url) for url in options.replica]
    above = max([options.above or 0, *served])
    paths = ReleasePaths.from_environment()
    done = restore(paths, options.file, above=above, aside=options.aside, by=options.by, now=utc_now())
    _tell(options.file, done.index)
    current = done.registry.current
    sys.stdout.write(
        f"restored: generation {done.registry.generation}, current {current.run_id if current else 'none'}; "
        "the latch is set: look, then clear it with recommendation_latch\n"
    )
    for folder in done.aside:
        sys.stdout.write(f"kept: {folder}\n")
    return DONE


def _served(url: str) -> int:
    with RecommendationApiClient(url) as replica:
        report = replica.models()
    desired = [report.desired.generation] if report.desired else []
    return max([*desired, *(worker.generation for worker in report.workers)], default=0)


def _tell(file: Path, index: Index) -> None:
    size = sum(one.bytes for one in index.files)
    sys.stdout.write(
        f"{file}: of {utc_text(index.made_at)}, generation {index.generation}, current {index.current or 'none'}, "
        f"{len(index.runs)} runs, {len(index.files)} files, {size} bytes\n"
    )


if __name__ == "__main__":
    sys.exit(main())
