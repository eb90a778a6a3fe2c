"""The stack of docker-compose.yaml on a real engine: ``python -m tests.containers``, by scripts/compose_on_podman.sh."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

from tests.containers.stack import Stack, StackError
from tests.containers.story import Story
from tests.deploy.compose import PROJECT

PAGE = PROJECT / "docs" / "production.md"
_BEGIN, _END = "<!-- timeline: begin -->", "<!-- timeline: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Carry the story out; return 0 if everything happened as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=Path, required=True, help="folder of the secrets")
    parser.add_argument("--settings", type=Path, required=True, help="what stands for .env")
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--write-docs", action="store_true", help=f"write the timeline into {PAGE.name}")
    asked = parser.parse_args(arguments)
    story = Story(Stack(asked.secrets, asked.settings), _say)
    status = 0
    try:
        story.run()
    except StackError as error:
        _say(f"FAILED: {error}")
        status = 1
    finally:
        if not asked.keep:
            story.down()
    if asked.write_docs and status == 0:
        _write(story)
    return status


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write(story: Story) -> None:
    text = PAGE.read_text(encoding="utf-8")
    head = f"`scripts/compose_on_podman.sh` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores:"
    rows = [f"| {seconds:.0f} | {what.replace('|', '/')} |" for seconds, what in story.lines]
    table = "\n".join(["| seconds | what happened |", "|---|---|", *rows])
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    PAGE.write_text(f"{before}{_BEGIN}\n{head}\n\n{table}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
