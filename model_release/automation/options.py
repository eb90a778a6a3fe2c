"""The command line of ``scripts/automate_release.py``, and what it asks for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping

from model_release.asking import Asked, form
from model_release.command import checked
from model_release.errors import ConfigurationError
from model_release.identifiers import check_run_id

COMMIT = "GITHUB_SHA"
_DESCRIPTION = """\
Ask Airflow for a release of a commit, follow it, and prove that every replica serves it.

The same commit and options again: the same release, never a second one.  Where Airflow and the replicas are, and who
asks, the environment says: docs/reference/automate-release.md.

Exit status: 0 released, 1 failed, 2 wrong usage or configuration, 3 rejected by the gate, 4 not ended in time,
5 Airflow or a replica out of reach, 130 interrupted (the DAG run goes on)."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    found = argparse.ArgumentParser(
        prog="scripts/automate_release.py",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--mode", choices=("primary", "shadow", "canary"), default="primary", help="default: primary")
    found.add_argument(
        "--rollout", type=_share, metavar="SHARE", help="of requests for shadow, of users for canary, such as 0.1"
    )
    found.add_argument("--run-id", type=checked(check_run_id), help="release this run instead of training one")
    found.add_argument("--commit", help=f"full id; default: ${COMMIT}, else the HEAD of this checkout")
    found.add_argument(
        "--again", action="store_true", help="if this was asked for before and ended without a release: ask anew"
    )
    how = found.add_mutually_exclusive_group()
    how.add_argument(
        "--rehearse", action="store_true", help="train, judge, let every replica prepare the run; change nothing"
    )
    how.add_argument("--dry-run", action="store_true", help="ask Airflow and the replicas everything, start nothing")
    return found


def asked_for(
    options: argparse.Namespace, dag_id: str, env: Mapping[str, str], head: Callable[[], str | None]
) -> Asked:
    """Return what the options ask for; ``head`` gives the commit that is checked out.

    Raises:
        ConfigurationError: they contradict each other, or nothing says which commit.
    """
    commit = options.commit or env.get(COMMIT) or head()
    if not commit:
        raise ConfigurationError(f"which commit? Give --commit, or set {COMMIT}, or start it in a checkout")
    conf = form(mode=options.mode, rollout=options.rollout, run_id=options.run_id, dry_run=options.rehearse)
    return Asked(dag_id=dag_id, commit=commit, conf=conf)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value
