"""Write what Airflow reads from files of its own, out of the secrets that are mounted: logins and connections.

``python write_private_files.py SECRETS FOLDER``.  Airflow opens its file of passwords for writing, and a connection is
JSON around a secret; neither can be the mounted file itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

API_HOST, API_PORT = "recommendation-api", 8000


def secret(folder: Path, name: str) -> str:
    """Return the last line of a secret; before it may stand the token that is being replaced."""
    lines = (folder / name).read_text(encoding="utf-8").split()
    if not lines:
        raise SystemExit(f"{folder / name} is empty: scripts/make_secrets.sh makes it")
    return lines[-1]


def passwords(folder: Path) -> dict[str, str]:
    """Return the logins of the UI and of the REST API."""
    return {"admin": secret(folder, "airflow_admin_password"), "viewer": secret(folder, "airflow_viewer_password")}


def connections(folder: Path) -> dict[str, Any]:
    """Return the connections that DAGs use: every replica of the recommendation API, and WeCom if there is a robot."""
    found: dict[str, Any] = {
        "recommendation_api": {
            "conn_type": "recommendation_api",
            "schema": "http",
            "host": API_HOST,
            "port": API_PORT,
            "password": secret(folder, "model_reload_token"),
            "extra": {"every_address": True},
        }
    }
    robots = (folder / "wecom_robots").read_text(encoding="utf-8").replace(",", " ").split()
    if robots:
        found["wecom_robot"] = {"conn_type": "http", "password": robots[0].partition("=")[2]}
    return found


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file that only its owner reads."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream)


def main(secrets: str, folder: str) -> None:
    """Write both files."""
    write(Path(folder) / "passwords.json", passwords(Path(secrets)))
    write(Path(folder) / "connections.json", connections(Path(secrets)))


if __name__ == "__main__":
    main(*sys.argv[1:])
