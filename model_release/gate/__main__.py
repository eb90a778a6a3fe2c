"""The gate on the command line and in CI: judge a run, explain a policy or a decision, try a policy.

Exit status of check: 0 PASS, 1 ERROR (could not measure), 2 wrong usage (the policy too), 3 FAIL (rejected),
4 INCONCLUSIVE.  Of the other commands: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from model_release.command import parser_of
from model_release.gate import check, explain, schema, simulate
from model_release.paths import ReleasePaths

_COMMANDS = (check, explain, simulate, schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = parser_of("model_release.gate", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in _COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    return int(options.run(options, ReleasePaths.from_environment()))


if __name__ == "__main__":
    sys.exit(main())
