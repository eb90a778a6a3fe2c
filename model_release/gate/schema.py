"""Print the JSON Schema of a policy file, for editors."""

from __future__ import annotations

import argparse
import json
import sys

from model_release.command import DONE
from model_release.gate.options import Commands
from model_release.policy.schema import policy_schema


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "schema", help="the JSON Schema of a policy file, for editors", description=__doc__
    )
    parser.set_defaults(run=lambda _options, _paths: run())


def run() -> int:
    """Print the schema."""
    sys.stdout.write(json.dumps(policy_schema(), indent=2) + "\n")
    return DONE
