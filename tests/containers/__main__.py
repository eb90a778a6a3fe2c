"""The stack of docker-compose.yaml on a real engine: ``python -m tests.containers``, by scripts/compose_on_podman.sh."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

from tests.containers.canary import Canary
from tests.containers.release_script import ReleaseScript
from tests.containers.scene import Scene
from tests.containers.stack import Stack, StackError
from tests.containers.story import Story
from tests.containers.systemd import Systemd
from tests.deploy.compose import PROJECT
from tests.docs_pages import DOCS, timeline_table, write_page

PAGE = DOCS / "production.md"
STORIES: dict[str, type[Scene]] = {
    "stack": Story, "release-script": ReleaseScript, "systemd": Systemd, "canary": Canary,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Carry the story out; return 0 if everything happened as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=Path, required=True, help="folder of the secrets")
    parser.add_argument("--settings", type=Path, required=True, help="what stands for .env")
    parser.add_argument("--folder", type=Path, default=PROJECT, help="the checkout that is a server's")
    parser.add_argument("--story", choices=sorted(STORIES), default="stack", help="what is proved")
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--write-docs", action="store_true", help=f"write the timeline into {PAGE.name}")
    asked = parser.parse_args(arguments)
    story = STORIES[asked.story](Stack(asked.secrets, asked.settings, asked.folder), _say)
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
        _write(story, asked.story)
    return status


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write(story: Scene, name: str) -> None:
    option = "" if name == "stack" else f" --{name}"
    head = f"`scripts/compose_on_podman.sh{option}` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores:"
    write_page("timeline" if name == "stack" else name, f"{head}\n\n{timeline_table(story.lines, digits=0)}", PAGE)


if __name__ == "__main__":
    sys.exit(main())
