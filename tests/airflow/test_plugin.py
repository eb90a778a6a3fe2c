"""What Airflow loads of plugins/: the plugin once, its packages only by their full names, and the provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LOAD = """
import json, sys
standard = {name: getattr(sys.modules.get(name), "__file__", None) for name in ("http", "json", "logging", "queue")}
from airflow.plugins_manager import get_plugin_info
import airflow.plugins_manager as manager
names = [plugin["name"] for plugin in get_plugin_info()]
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
files = {}
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if "/plugins/" in file and "site-packages" not in file:
        files.setdefault(file, []).append(name)
from airflow.providers_manager import ProvidersManager
found = ProvidersManager().hooks.get("recommendation_api")
print(json.dumps({"plugins": names, "files": files, "hook": found and found.hook_class_name}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a fresh process finds after Airflow has loaded all plugins and providers."""
    home = tmp_path_factory.mktemp("plugins")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_plugin_is_loaded(loaded: dict[str, object]) -> None:
    assert "model_release" in str(loaded["plugins"])


def test_no_file_is_loaded_under_two_names(loaded: dict[str, object]) -> None:
    """Airflow's loader imports what it finds under its bare name: a class would exist twice."""
    files = loaded["files"]
    assert isinstance(files, dict)
    assert any(file.endswith("hooks/recommendation_api.py") for file in files)
    assert {file: names for file, names in files.items() if len(names) != 1} == {}
    assert all(
        names[0].startswith("model_release_airflow")
        for file, names in files.items()
        if "model_release_airflow/" in file
    )


def test_the_connection_type_is_known(loaded: dict[str, object]) -> None:
    assert str(loaded["hook"]).endswith("RecommendationApiHook")
