"""Settings: what is missing, unknown or contradictory ends the bridge with a reason, and no reason shows a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from alert_bridge.settings import Settings
from model_release.errors import ConfigurationError

TOKEN = {"ALERT_BRIDGE_TOKEN": "token-11"}
ROBOT = {"ALERT_BRIDGE_ROBOTS": "ops=key-aa11"}


def read(**about: str) -> Settings:
    return Settings.from_environment({f"ALERT_BRIDGE_{name.upper()}": value for name, value in about.items()})


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    settings = Settings.from_environment({**TOKEN, **ROBOT, "MODEL_RELEASE_HOME": str(tmp_path)})
    assert settings.robot_keys == {"ops": "key-aa11"}
    assert settings.folder == tmp_path / "data" / "alert_bridge"
    assert "key-aa11" not in repr(settings)
    assert "token-11" not in repr(settings)


def test_several_robots_by_lines_or_commas(tmp_path: Path) -> None:
    file = tmp_path / "robots"
    file.write_text("ops=key-aa11\n\nnight = key-bb22, more=key-cc33\n")
    settings = read(token="t", robots_file=str(file))
    assert settings.robot_keys == {"ops": "key-aa11", "night": "key-bb22", "more": "key-cc33"}


def test_secrets_of_an_app_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("secret-5a\n")
    app = {"app_corp_id": "ww", "app_agent_id": "7", "app_to_user": "a|b"}
    settings = read(token="t", app_secret_file=str(file), **app)
    assert settings.app_secret is not None
    assert settings.app_secret.get_secret_value() == "secret-5a"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"robots": "ops=key-aa11"}, "ALERT_BRIDGE_TOKEN is needed"),
        ({"token": "t"}, "nobody would be told"),
        ({"token": "t", "robots": "key-aa11"}, "entry 1: write name=key"),
        ({"token": "t", "robots": "ops=https://x/send?key=key-aa11"}, "entry 1: write name=key"),
        ({"token": "t", "robots": "ops=key-aa11,ops=key-aa12"}, "'ops' is taken already"),
        ({"token": "t", "robots": "ops=key-aa11,night=key-aa11"}, "entry 2: 'night' has the key of another one"),
        ({"token": "t", "robots": "app=key-aa11"}, "'app' is taken already"),
        ({"token": "t", "robots": "ops=key-aa11", "log_only": "true"}, "contradicts"),
        ({"token": "t", "app_corp_id": "ww", "app_secret": "key-aa11"}, "belong together"),
        ({"token": "t", "robots": "ops=key-aa11", "robots_file": "/x"}, "are both set"),
        ({"token": "t", "robots_file": "/no/such/file"}, "can't be read"),
        ({"token": "t", "robots": "ops=key-aa11", "robot": "x"}, "ALERT_BRIDGE_ROBOT is not a setting"),
        ({"token": "t", "robots": "ops=key-aa11", "messages_per_minute": "21"}, "ALERT_BRIDGE_MESSAGES_PER_MINUTE"),
        ({"token": "t", "robots": "ops=key-aa11", "alertmanager_url": "alerts:9093"}, "ALERT_BRIDGE_ALERTMANAGER_URL"),
        ({"token": "two words", "robots": "ops=key-aa11"}, "printable ASCII"),
    ],
)
def test_what_can_not_be(given: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read(**given)
    assert "key-aa1" not in str(caught.value)
