"""The whole loop on real processes, with a release that goes wrong: ``python -m tests.loop``.  See docs/closed-loop.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from model_release.contract import utc_now
from tests.docs_pages import DOCS, timeline_table, write_page
from tests.loop.stack import REPLICAS, loop
from tests.loop.story import PROMISED_SECONDS, LoopBrokenError, Story

PAGE = DOCS / "closed-loop.md"


def main(arguments: list[str] | None = None) -> int:
    """Run the loop once; return 0 if everything happened as it should and in time."""
    parser = argparse.ArgumentParser(prog="scripts/loop.sh", description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for everything (default: a new one)")
    parser.add_argument("--write-docs", action="store_true", help="write the timeline into docs/closed-loop.md")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    home = asked.home or Path(tempfile.mkdtemp(prefix="loop-"))
    _say(f"everything is in {home}; starting, which takes a minute")
    with loop(home) as made:
        story = Story(made, _say)
        try:
            story.run()
        except LoopBrokenError as error:
            _say(f"FAILED: {error}")
            return 1
    late = story.seconds > PROMISED_SECONDS
    said = f"the run from before served everywhere {story.seconds:.1f} s after the bad one was committed"
    _say(f"{said}; promised are {PROMISED_SECONDS:g} s{': TOO LATE' if late else ''}")
    if asked.write_docs:
        _write(story, said)
    return int(late)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write(story: Story, said: str) -> None:
    head = f"`scripts/loop.sh` on {utc_now():%Y-%m-%d}, {os.cpu_count()} cores, {REPLICAS} replicas: {said}."
    write_page("timeline", f"{head}\n\n{timeline_table(story.lines, digits=1)}", PAGE)


if __name__ == "__main__":
    sys.exit(main())
