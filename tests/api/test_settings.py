"""Settings of a replica: read once, complete, and a mistake ends the start with the name of the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from model_release.errors import ConfigurationError
from recommendation_api.settings import Settings
from tests.api.replica import PROJECT


def test_every_setting_has_a_variable(tmp_path: Path) -> None:
    """Prefix and field name; the token has its own name."""
    settings = Settings.from_environment(
        {
            "MODEL_RELEASE_HOME": str(tmp_path),
            "MODEL_RELOAD_TOKEN": "secret",
            "RECOMMENDATION_API_HOST": "0.0.0.0",  # noqa: S104  (read, not listened on)
            "RECOMMENDATION_API_PORT": "9000",
            "RECOMMENDATION_API_DEVELOPMENT": "true",
            "RECOMMENDATION_API_REPLICA": "blue",
            "RECOMMENDATION_API_WATCH_SECONDS": "0.5",
            "RECOMMENDATION_API_DEFAULT_K": "5",
            "RECOMMENDATION_API_MAXIMUM_K": "50",
            "RECOMMENDATION_API_SHADOW_QUEUE": "10",
            "RECOMMENDATION_API_EXPOSURES": "true",
            "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.1",
            "RECOMMENDATION_API_EXPOSURE_FILE_MEGABYTES": "8",
            "RECOMMENDATION_API_EXPOSURE_KEEP_MEGABYTES": "80",
            "RECOMMENDATION_API_EXPOSURE_KEEP_DAYS": "7",
            "RECOMMENDATION_API_EXPOSURE_QUEUE": "500",
            "RECOMMENDATION_API_EVENTS": "true",
            "RECOMMENDATION_EVENTS_TOKEN": "another",
            "OTHER": "is not ours",
        }
    )
    assert settings.reload_token is not None
    assert settings.reload_token.get_secret_value() == "secret"
    assert (settings.paths.root, settings.port, settings.development) == (tmp_path.resolve(), 9000, True)
    assert (settings.replica, settings.watch_seconds, settings.shadow_queue) == ("blue", 0.5, 10)
    assert (settings.default_k, settings.maximum_k) == (5, 50)
    assert (settings.exposures, settings.exposure_flush_seconds, settings.exposure_queue) == (True, 0.1, 500)
    assert (settings.exposure_file_megabytes, settings.exposure_keep_megabytes) == (8, 80)
    assert (settings.exposure_keep_days, settings.events) == (7, True)
    assert settings.events_token is not None
    assert settings.events_token.get_secret_value() == "another"


def test_defaults_are_safe(tmp_path: Path) -> None:
    """Loopback, no token, no development mode; answers are recorded, events not taken."""
    settings = Settings.from_environment({"MODEL_RELEASE_HOME": str(tmp_path)})
    assert (settings.host, settings.reload_token, settings.development) == ("127.0.0.1", None, False)
    assert (settings.exposures, settings.events, settings.events_token) == (True, False, None)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RECOMMENDATION_API_PROT", "9000", "RECOMMENDATION_API_PROT is not a setting"),
        ("RECOMMENDATION_API_PATHS", "/", "RECOMMENDATION_API_PATHS is not a setting"),
        ("RECOMMENDATION_API_RELOAD_TOKEN", "secret", "RECOMMENDATION_API_RELOAD_TOKEN is not a setting"),
        ("RECOMMENDATION_API_PORT", "0", "RECOMMENDATION_API_PORT is '0'"),
        ("RECOMMENDATION_API_PORT", "http", "RECOMMENDATION_API_PORT is 'http'"),
        ("RECOMMENDATION_API_WATCH_SECONDS", "0", "RECOMMENDATION_API_WATCH_SECONDS is '0'"),
        ("RECOMMENDATION_API_WATCH_SECONDS", "nan", "RECOMMENDATION_API_WATCH_SECONDS is 'nan'"),
        ("RECOMMENDATION_API_DEVELOPMENT", "maybe", "RECOMMENDATION_API_DEVELOPMENT is 'maybe'"),
        ("RECOMMENDATION_API_DEFAULT_K", "101", "above RECOMMENDATION_API_MAXIMUM_K=100"),
        ("RECOMMENDATION_API_EVENTS_TOKEN", "secret", "RECOMMENDATION_API_EVENTS_TOKEN is not a setting"),
        ("RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS", "0.6", "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS is '0.6'"),
        (
            "RECOMMENDATION_API_EXPOSURE_KEEP_MEGABYTES",
            "1",
            "FILE_MEGABYTES=64 is above RECOMMENDATION_API_EXPOSURE_KEEP",
        ),
        ("RECOMMENDATION_EVENTS_TOKEN_FILE", "/no/such/file", "RECOMMENDATION_EVENTS_TOKEN_FILE=/no/such/file can't"),
        ("MODEL_RELOAD_TOKEN_FILE", "/no/such/file", "MODEL_RELOAD_TOKEN_FILE=/no/such/file can't be read"),
    ],
)
def test_a_mistake_names_the_variable(tmp_path: Path, variable: str, value: str, said: str) -> None:
    """A replica with half of its settings would be worse than none."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"MODEL_RELEASE_HOME": str(tmp_path), variable: value})
    assert said in str(caught.value)


def test_events_need_the_log(tmp_path: Path) -> None:
    """Outcomes would have nowhere to go; both variables are named."""
    with pytest.raises(ConfigurationError, match="_EVENTS=true needs RECOMMENDATION_API_EXPOSURES=true"):
        Settings.from_environment(
            {
                "MODEL_RELEASE_HOME": str(tmp_path),
                "RECOMMENDATION_API_EVENTS": "true",
                "RECOMMENDATION_API_EXPOSURES": "false",
            }
        )


def test_a_token_is_given_once_and_is_not_empty(tmp_path: Path) -> None:
    """Two tokens contradict each other; an empty file is not "no token"."""
    file = tmp_path / "token"
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match="is empty"):
        Settings.from_environment({"MODEL_RELOAD_TOKEN_FILE": str(file)})
    with pytest.raises(ConfigurationError, match="both set") as caught:
        Settings.from_environment({"MODEL_RELOAD_TOKEN": "secret", "MODEL_RELOAD_TOKEN_FILE": str(file)})
    assert "secret" not in str(caught.value)


def test_settings_never_show_the_token_and_never_change(tmp_path: Path) -> None:
    """Printed in a log or a traceback they are harmless."""
    settings = Settings.from_environment({"MODEL_RELEASE_HOME": str(tmp_path), "MODEL_RELOAD_TOKEN": "very-secret"})
    assert "very-secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    with pytest.raises(ValidationError):
        settings.development = True  # type: ignore[misc]


def test_a_replica_with_a_wrong_setting_does_not_start(tmp_path: Path) -> None:
    """It ends at once with status 2 and one line that says why."""
    ended = subprocess.run(
        [sys.executable, "-m", "recommendation_api", "--port", "0"],
        cwd=PROJECT,
        env={**os.environ, "MODEL_RELEASE_HOME": str(tmp_path), "RECOMMENDATION_API_WATCH_SECONDS": "often"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "RECOMMENDATION_API_WATCH_SECONDS is 'often'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_for_temporary_files_that_is_too_long_is_named(tmp_path: Path) -> None:
    """Sockets have short paths: with several workers the command says so, like any setting that is not usable."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "recommendation_api", "--port", "0", "--workers", "2"],
        cwd=PROJECT,
        env={**os.environ, "MODEL_RELEASE_HOME": str(tmp_path), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "set TMPDIR to a shorter folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
