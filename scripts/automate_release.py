#!/usr/bin/env python3
"""Ask Airflow for a release of this commit, follow it, and prove that every replica serves it.

``python scripts/automate_release.py --help``; needs scripts/requirements-automate.txt and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(PROJECT)  # not the scripts beside this one

from model_release.automation.command import main  # noqa: E402


def head() -> str | None:
    """Return the commit that is checked out here; None: nobody knows."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(commit=head))
