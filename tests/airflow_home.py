"""Airflow's configuration for all tests that import it: read once in a process, so it stands in one place.

Import this before airflow.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="airflow-test-"))
ROLES = ("viewer", "user", "op", "admin")
_PROJECT = Path(__file__).resolve().parents[1]

(HOME / "passwords.json").write_text(json.dumps({role: f"{role}-password" for role in ROLES}))
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(_PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(_PROJECT / "plugins"),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(HOME / "passwords.json"),
    "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
    "AIRFLOW__API__BASE_URL": "http://airflow.example:8080",
}
# Airflow's API server imports it; that it will want another HTTP library one day is nothing that a test can act on.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient` is deprecated")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fastapi.testclient  # noqa: F401
