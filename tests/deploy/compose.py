"""Read docker-compose.yaml as Docker Compose itself does.

``python -m tests.deploy.compose`` checks it with every choice of profiles, as ``docker compose config --quiet``.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import compose

PROJECT = Path(__file__).resolve().parents[2]
PROFILES = ("", "monitoring", "canary", "monitoring,canary")
# the package's own entry point swallows exit statuses
COMPOSE = Path(compose.__file__).parent / "docker-compose"


def run(
    *arguments: str, file: Path = PROJECT / "docker-compose.yaml", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose on the project, without anybody's settings."""
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", **variables}
    command = [str(COMPOSE), "--project-directory", str(PROJECT), "--file", str(file)]
    command += ["--env-file", os.devnull, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@functools.cache
def project(profiles: str = "*") -> Mapping[str, Any]:
    """Return the whole project, interpolated and merged."""
    done = run("config", "--format", "json", COMPOSE_PROFILES=profiles)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def services() -> dict[str, dict[str, Any]]:
    """Return every service of every profile."""
    return dict(project()["services"])


def main() -> int:
    """Check every choice of profiles; return the number of those that Compose refuses."""
    refused = 0
    for profiles in PROFILES:
        done = run("config", "--quiet", COMPOSE_PROFILES=profiles)
        if done.returncode != 0 or done.stderr:
            refused += 1
            sys.stderr.write(f"profiles {profiles or 'none'}: {done.stderr}")
    return refused


if __name__ == "__main__":
    sys.exit(main())
