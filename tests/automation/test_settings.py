"""The environment of the automation: every way to write it that can be meant, and a message that names the variable else."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_release.automation.settings import SECRETS, Settings
from model_release.errors import ConfigurationError

ENV = {
    "AIRFLOW_BASE_URL": "https://airflow.example.com/api/v1",
    "AIRFLOW_USERNAME": "ci",
    "AIRFLOW_PASSWORD": "a pass phrase",
    "MODEL_RELOAD_URL": "http://10.0.0.5:8000",
}


def read(**changes: str | None) -> Settings:
    env = {**ENV, **{name: value or "" for name, value in changes.items()}}
    return Settings.from_environment(env)


def test_what_has_to_be_said_is_enough() -> None:
    settings = read()
    assert (settings.airflow_url, settings.dag_id) == ("https://airflow.example.com", "recommendation_pipeline")
    assert (settings.timeout_seconds, settings.poll_seconds, settings.patience_seconds) == (3600, 5, 300)
    assert settings.login.password == "a pass phrase"
    assert settings.reload_token is None


def test_replicas_are_one_or_several_addresses_each_once() -> None:
    """Also as the address of the reload itself, as the variable's name suggests."""
    given = "http://a:8000/models/reload, http://b:8000/ http://a:8000"
    assert read(MODEL_RELOAD_URL=given).replicas == ("http://a:8000", "http://b:8000")


def test_every_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    env = {"AIRFLOW_BASE_URL": "localhost:8080", "MODEL_RELOAD_URL": "http://a:8000"}
    for name in SECRETS:
        (tmp_path / name).write_text(f"in-{name}\n")
        env[f"{name}_FILE"] = str(tmp_path / name)
    token = Settings.from_environment(
        {name: value for name, value in env.items() if "USERNAME" not in name and "PASSWORD" not in name}
    )
    assert (token.login.token, token.reload_token) == ("in-AIRFLOW_TOKEN", "in-MODEL_RELOAD_TOKEN")
    named = Settings.from_environment({name: value for name, value in env.items() if name != "AIRFLOW_TOKEN_FILE"})
    assert (named.login.username, named.login.password) == ("in-AIRFLOW_USERNAME", "in-AIRFLOW_PASSWORD")
    assert "in-" not in f"{token!r}{named!r}".replace("in-AIRFLOW_USERNAME", "")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"AIRFLOW_BASE_URL": ""}, ["AIRFLOW_BASE_URL"]),
        ({"AIRFLOW_BASE_URL": "ftp://host"}, ["AIRFLOW_BASE_URL"]),
        ({"AIRFLOW_USERNAME": ""}, ["AIRFLOW_USERNAME not set"]),
        ({"AIRFLOW_PASSWORD": ""}, ["AIRFLOW_PASSWORD not set"]),
        ({"AIRFLOW_USERNAME": "", "AIRFLOW_PASSWORD": ""}, ["AIRFLOW_USERNAME and AIRFLOW_PASSWORD", "AIRFLOW_TOKEN"]),
        ({"AIRFLOW_TOKEN": "t"}, ["AIRFLOW_TOKEN", "AIRFLOW_USERNAME", "AIRFLOW_PASSWORD"]),
        ({"AIRFLOW_USERNAME": "", "AIRFLOW_PASSWORD": "", "AIRFLOW_TOKEN": "a b"}, ["AIRFLOW_TOKEN"]),
        ({"AIRFLOW_PASSWORD_FILE": "/nowhere"}, ["AIRFLOW_PASSWORD and AIRFLOW_PASSWORD_FILE"]),
        ({"AIRFLOW_PASSWORD": "", "AIRFLOW_PASSWORD_FILE": "/nowhere"}, ["AIRFLOW_PASSWORD_FILE=/nowhere"]),
        ({"AIRFLOW_DAG_ID": "a/b"}, ["AIRFLOW_DAG_ID"]),
        ({"AIRFLOW_TIMEOUT": "an hour"}, ["AIRFLOW_TIMEOUT"]),
        ({"AIRFLOW_TIMEOUT": "0"}, ["AIRFLOW_TIMEOUT"]),
        ({"AIRFLOW_TIMEOUT": "nan"}, ["AIRFLOW_TIMEOUT"]),
        ({"AIRFLOW_POLL_INTERVAL": "-1"}, ["AIRFLOW_POLL_INTERVAL"]),
        ({"AIRFLOW_POLL_INTERVAL": "60", "AIRFLOW_TIMEOUT": "30"}, ["AIRFLOW_POLL_INTERVAL", "AIRFLOW_TIMEOUT"]),
        ({"AIRFLOW_PATIENCE": "inf"}, ["AIRFLOW_PATIENCE"]),
        ({"MODEL_RELOAD_URL": " , "}, ["MODEL_RELOAD_URL"]),
        ({"MODEL_RELOAD_URL": "replica:8000"}, ["MODEL_RELOAD_URL"]),
        ({"MODEL_RELOAD_URL": "http://ci:secret-1f@a"}, ["MODEL_RELOAD_URL"]),
        ({"MODEL_RELOAD_TOKEN": "a b"}, ["MODEL_RELOAD_TOKEN"]),
    ],
)
def test_what_can_not_be_used_is_named_and_no_secret_is_shown(changes: dict[str, str], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**changes)
    said = str(caught.value)
    assert all(name in said for name in named), said
    assert not any(secret in said for secret in ("pass phrase", "secret-1f", "a b"))
