"""Settings of one replica, read from the environment at the edge and frozen."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from model_release.errors import ConfigurationError
from model_release.paths import ReleasePaths

PREFIX = "RECOMMENDATION_API_"
TOKEN = "MODEL_RELOAD_TOKEN"  # noqa: S105  (the variable's name)
TOKEN_FILE = f"{TOKEN}_FILE"


class Settings(BaseModel):
    """What one replica needs to know.

    Attributes:
        paths: where runs, registry and ledger are.
        host: address to listen on.
        port: port to listen on.
        reload_token: bearer token for reload and lease; None: they are refused, except see ``development``.
        development: without a token, allow reload and lease from loopback.
        replica: name of this replica in ``GET /models``.
        watch_seconds: how often the registry is looked at.
        default_k: length of a list when the request does not say.
        maximum_k: longest list that may be asked for.
        shadow_queue: requests that may wait to be scored by a shadow candidate; more are dropped and counted.
        workers: processes that answer requests, behind one port.
        late_seconds: how late answers may be begun before requests are refused.
        scoring_threads: threads of a worker for models that take long.
        scoring_waiting: slow answers that may be under way or wait in a worker; more requests are refused.
        scoring_seconds: how long a slow answer may take; then popular items are answered.
        keep_alive_seconds: after how long without a request a connection is closed.
        request_seconds: how long a request may take to arrive, to the last byte of its body.
        drain_seconds: how long, after a signal to end, requests are still taken while the replica says "not ready".
        hung_seconds: after how long without a sign of life a worker among several is replaced.
        docs: whether ``/docs``, ``/redoc`` and ``/openapi.json`` are there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: ReleasePaths
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    reload_token: SecretStr | None = None
    development: bool = False
    replica: str = Field(default_factory=socket.gethostname, min_length=1)
    watch_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    default_k: Annotated[int, Field(ge=1, le=1000)] = 10
    maximum_k: Annotated[int, Field(ge=1, le=1000)] = 100
    shadow_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    late_seconds: Annotated[float, Field(gt=0, le=60)] = 0.25
    scoring_threads: Annotated[int, Field(ge=1, le=64)] = 2
    scoring_waiting: Annotated[int, Field(ge=1, le=10_000)] = 64
    scoring_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    keep_alive_seconds: Annotated[int, Field(ge=1, le=3600)] = 75
    request_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 1.0
    hung_seconds: Annotated[float, Field(ge=1, le=3600)] = 10.0
    docs: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``RECOMMENDATION_API_<FIELD>``, ``MODEL_RELOAD_TOKEN`` or ``MODEL_RELOAD_TOKEN_FILE``.

        Raises:
            ConfigurationError: a variable is unknown, contradicts another or holds an impossible value.
        """
        env = os.environ if environment is None else environment
        names = set(cls.model_fields) - {"paths", "reload_token"}
        values: dict[str, object] = {}
        for variable, value in env.items():
            if variable.startswith(PREFIX):
                name = variable.removeprefix(PREFIX).lower()
                if name not in names:
                    known = ", ".join(sorted(PREFIX + known.upper() for known in names))
                    raise ConfigurationError(f"{variable} is not a setting; there are {known}")
                values[name] = value
        try:
            settings = cls.model_validate(
                {**values, "paths": ReleasePaths.from_environment(env), "reload_token": _token(env)}
            )
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            name = "_".join(str(part) for part in problem["loc"]).upper()
            raise ConfigurationError(f"{PREFIX}{name}={problem['input']!r}: {problem['msg']}") from None
        if settings.default_k > settings.maximum_k:
            raise ConfigurationError(
                f"{PREFIX}DEFAULT_K={settings.default_k} is above {PREFIX}MAXIMUM_K={settings.maximum_k}"
            )
        return settings


def _token(env: Mapping[str, str]) -> str | None:
    direct, file = env.get(TOKEN), env.get(TOKEN_FILE)
    if direct and file:
        raise ConfigurationError(f"{TOKEN} and {TOKEN_FILE} are both set: give the token once")
    if file:
        try:
            direct = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"{TOKEN_FILE}={file} can't be read: {error.strerror}") from error
        if not direct:
            raise ConfigurationError(f"{TOKEN_FILE}={file} is empty")
    return direct or None
