"""Settings of the bridge, read from the environment at the edge and frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from model_release.adapters.tokens import check_token, given_once, read_tokens, secret_of
from model_release.adapters.wecom_call import WECOM_URL
from model_release.errors import ConfigurationError
from model_release.explain import explain
from model_release.paths import ReleasePaths

PREFIX = "ALERT_BRIDGE_"
SECRETS = ("token", "robots", "app_secret")
APP = "app"  # name of the app among the targets
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HTTP = r"^(https?://.+)?$"


class Settings(BaseModel):
    """What the bridge needs to know.

    Attributes:
        paths: where registry and ledger are.
        host: address to listen on.
        port: port to listen on.
        state: folder of the queue; by default ``data/alert_bridge`` below the root.
        token: bearer token that Alertmanager has to send.
        token_file: file with one or two such tokens; read again whenever it changes.
        development: without a token, take webhooks from loopback.
        robots: group robots, ``name=key`` with commas or line ends between.
        app_corp_id: of a WeCom app: id of the company.
        app_secret: its secret.
        app_agent_id: its agent id.
        app_to_user: who gets its messages, with ``|`` between.
        app_to_party: departments that get them.
        log_only: without robots and app, tell the log.
        mentioned: user ids that robots mention about critical alerts, with commas between; ``@all`` for everybody.
        mentioned_mobiles: the same by mobile number.
        runbooks_url: in front of the path of a runbook.
        alertmanager_url: Alertmanager as people reach it; else what its webhook says.
        airflow_url: Airflow as people reach it, for a link in messages about alerts that start a rollback.
        wecom_url: base address of the service.
        proxy: an HTTP proxy on the way to it.
        messages_per_minute: that each target gets at most.
        most_parts: of one message; the rest is cut.
        attempt_seconds: how long an answer of WeCom is waited for.
        retry_seconds: first pause after a failure that may pass; it doubles up to a minute.
        throttled_seconds: pause after WeCom said that there were too many messages.
        queue_messages: that may wait for each target; with more, Alertmanager is told to come again.
        queue_hours: how long a message is tried.
        keep_days: how long it is remembered that an alert was told, after it was last heard of.
        body_kilobytes: of one webhook.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: ReleasePaths
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9095
    state: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    development: bool = False
    robots: SecretStr | None = None
    app_corp_id: str = ""
    app_secret: SecretStr | None = None
    app_agent_id: Annotated[int, Field(ge=0)] = 0
    app_to_user: str = ""
    app_to_party: str = ""
    log_only: bool = False
    mentioned: str = ""
    mentioned_mobiles: str = ""
    runbooks_url: Annotated[str, Field(pattern=_HTTP)] = ""
    alertmanager_url: Annotated[str, Field(pattern=_HTTP)] = ""
    airflow_url: Annotated[str, Field(pattern=_HTTP)] = ""
    wecom_url: Annotated[str, Field(pattern=_HTTP, min_length=1)] = WECOM_URL
    proxy: str | None = None
    messages_per_minute: Annotated[int, Field(ge=1, le=20)] = 20
    most_parts: Annotated[int, Field(ge=1, le=100)] = 20
    attempt_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    throttled_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    queue_messages: Annotated[int, Field(ge=1, le=100_000)] = 1000
    queue_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    keep_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    body_kilobytes: Annotated[int, Field(ge=1, le=65_536)] = 4096

    @property
    def folder(self) -> Path:
        """Where the queue is."""
        return self.state or self.paths.root / "data" / "alert_bridge"

    @property
    def robot_keys(self) -> dict[str, str]:
        """Return the key of each robot by its name."""
        return _robots(self.robots.get_secret_value() if self.robots else "")

    @property
    def who(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return who is mentioned, by user id and by mobile number."""
        return _names(self.mentioned), _names(self.mentioned_mobiles)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``ALERT_BRIDGE_<FIELD>``, and each secret from its own variable or the file that another one names.

        Raises:
            ConfigurationError: a variable is unknown, contradicts another or holds an impossible value; no message shows
                a secret.
        """
        env = os.environ if environment is None else environment
        known = {PREFIX + name.upper() for name in cls.model_fields if name not in {"paths", "token_file"}}
        known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
        unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in known)
        if unknown:
            raise ConfigurationError(f"{unknown[0]} is not a setting; there are {', '.join(sorted(known))}")
        plain = known - {f"{PREFIX}{name.upper()}{end}" for name in SECRETS for end in ("", "_FILE")}
        values: dict[str, object] = {
            name.removeprefix(PREFIX).lower(): env[name] for name in plain if env.get(name, "") != ""
        }
        for name in SECRETS:
            values |= _secret(env, name)
        try:
            settings = cls.model_validate({**values, "paths": ReleasePaths.from_environment(env)})
        except ValidationError as error:
            raise ConfigurationError(explain(error, place=_variable)) from None
        settings.check_together()
        return settings

    def check_together(self) -> None:
        """Raise ``ConfigurationError`` for settings that contradict each other, or say too little."""
        if self.token is None and self.token_file is None and not self.development:
            raise ConfigurationError(
                f"{PREFIX}TOKEN is needed: whoever can post may write to your group; "
                f"{PREFIX}DEVELOPMENT=true takes webhooks from loopback without one"
            )
        app = (self.app_corp_id, self.app_secret, self.app_agent_id, self.app_to_user or self.app_to_party)
        if any(app) and not all(app):
            raise ConfigurationError(
                f"{PREFIX}APP_CORP_ID, {PREFIX}APP_SECRET, {PREFIX}APP_AGENT_ID and {PREFIX}APP_TO_USER or "
                f"{PREFIX}APP_TO_PARTY belong together"
            )
        robots = self.robot_keys
        if self.log_only and (robots or any(app)):
            raise ConfigurationError(f"{PREFIX}LOG_ONLY=true contradicts {PREFIX}ROBOTS and {PREFIX}APP_...")
        if not (self.log_only or robots or any(app)):
            raise ConfigurationError(
                f"nobody would be told: set {PREFIX}ROBOTS, or {PREFIX}APP_CORP_ID and what belongs to it, or "
                f"{PREFIX}LOG_ONLY=true"
            )


def _variable(location: Sequence[int | str]) -> str:
    return PREFIX + "_".join(map(str, location)).upper()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _robots(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, one in enumerate((one for one in re.split(r"[,\n]", text) if one.strip()), start=1):
        name, equals, key = (part.strip() for part in one.partition("="))
        if not equals or not _NAME.fullmatch(name) or not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            raise ConfigurationError(
                f"{PREFIX}ROBOTS, entry {place}: write name=key, the key as in the webhook address"
            )
        if name in found or name == APP:
            raise ConfigurationError(f"{PREFIX}ROBOTS: the name {name!r} is taken already")
        if key in found.values():  # its group would read everything twice, and get twice as much as it takes
            raise ConfigurationError(f"{PREFIX}ROBOTS, entry {place}: {name!r} has the key of another one")
        found[name] = key
    return found


def _secret(env: Mapping[str, str], name: str) -> dict[str, object]:
    variable = PREFIX + name.upper()
    if name == "token":
        direct, file = given_once(env, variable, "it")
        if file:
            read_tokens(file, f"{variable}_FILE")
            return {"token_file": file}
        return {name: check_token(direct, variable)} if direct else {}
    secret = secret_of(env, variable)
    return {name: secret} if secret else {}
