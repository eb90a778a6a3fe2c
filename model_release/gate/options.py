"""What several commands share: options, and output for a terminal, a file or a log."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from model_release.policy import Policy, default_policy_path, load_policy

Commands = Any  # what argparse's add_subparsers gives, which has no public name
NARROWEST = 140  # columns when the output is no terminal, as in a CI log


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Add ``--policy``."""
    parser.add_argument("--policy", type=Path, help="default: $RELEASE_POLICY, else config/release_policy.yaml")


def policy_of(options: argparse.Namespace) -> Policy:
    """Read the policy that the options name.

    Raises:
        ConfigurationError: it can't be read, or can't be meant.
    """
    return load_policy(options.policy or default_policy_path())


def console() -> Console:
    """Return where tables are printed; wide enough for them where nobody set a width."""
    found = Console()
    return found if found.is_terminal else Console(width=NARROWEST)
