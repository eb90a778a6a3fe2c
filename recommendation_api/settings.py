"""Settings of one replica, read from the environment at the edge and frozen."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from model_release.adapters.tokens import check_token, given_once, read_tokens
from model_release.errors import ConfigurationError
from model_release.explain import explain
from model_release.exposures import OUTCOME_TYPE_PATTERN
from model_release.paths import ReleasePaths

PREFIX = "RECOMMENDATION_API_"
RELOAD_TOKEN = "MODEL_RELOAD_TOKEN"  # noqa: S105  (the variable's name)
EVENTS_TOKEN = "RECOMMENDATION_EVENTS_TOKEN"  # noqa: S105  (the variable's name)
_OUTCOME_TYPES = rf"^{OUTCOME_TYPE_PATTERN[1:-1]}(,{OUTCOME_TYPE_PATTERN[1:-1]}){{0,19}}$"
TOKENS = {"reload_token": RELOAD_TOKEN, "events_token": EVENTS_TOKEN}


class Settings(BaseModel):
    """What one replica needs to know.

    Attributes:
        paths: where runs, registry and ledger are.
        host: address to listen on.
        port: port to listen on.
        reload_token: bearer token for reload and lease; without one, and without a file, they are refused, except see
            ``development``.
        reload_token_file: file with one or two such tokens; read again whenever it changes.
        events_token: bearer token for events, which is another right.
        events_token_file: file with one or two such tokens; read again whenever it changes.
        development: without a token, allow reload, lease and events from loopback.
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
        exposures: whether every answer is recorded.
        exposure_flush_seconds: pause between two writes; a killed process loses what came in meanwhile.
        exposure_file_megabytes: size from which a new file is begun.
        exposure_keep_megabytes: size of all files together from which the oldest are removed.
        exposure_keep_days: days that a file is kept after the day that it is about.
        exposure_queue: records that may wait to be written; more are dropped and counted.
        events: whether outcomes are taken.
        outcome_types: types of outcomes that are counted by name, with commas between; all others are ``other``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: ReleasePaths
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    reload_token: SecretStr | None = None
    reload_token_file: Path | None = None
    events_token: SecretStr | None = None
    events_token_file: Path | None = None
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
    exposures: bool = True
    exposure_flush_seconds: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    exposure_file_megabytes: Annotated[float, Field(gt=0, le=4096)] = 64.0
    exposure_keep_megabytes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10240.0
    exposure_keep_days: Annotated[int, Field(ge=1, le=3650)] = 30
    exposure_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    events: bool = False
    outcome_types: Annotated[str, Field(pattern=_OUTCOME_TYPES)] = "view,click,cart,purchase"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``RECOMMENDATION_API_<FIELD>``, and each token from its own variable or the file that another one names.

        Raises:
            ConfigurationError: a variable is unknown, contradicts another or holds an impossible value.
        """
        env = os.environ if environment is None else environment
        secrets = {field for name in TOKENS for field in (name, f"{name}_file")}
        names = set(cls.model_fields) - {"paths"} - secrets
        values: dict[str, object] = {}
        for variable, value in env.items():
            if variable.startswith(PREFIX):
                name = variable.removeprefix(PREFIX).lower()
                if name not in names:
                    known = ", ".join(sorted(PREFIX + known.upper() for known in names))
                    raise ConfigurationError(f"{variable} is not a setting; there are {known}")
                values[name] = value
        for name, variable in TOKENS.items():
            values |= _token(env, name, variable)
        try:
            settings = cls.model_validate({**values, "paths": ReleasePaths.from_environment(env)})
        except ValidationError as error:
            raise ConfigurationError(explain(error, place=_variable)) from None
        settings.check_together()
        return settings

    def check_together(self) -> None:
        """Raise ``ConfigurationError`` for settings that contradict each other."""
        if self.default_k > self.maximum_k:
            raise ConfigurationError(f"{PREFIX}DEFAULT_K={self.default_k} is above {PREFIX}MAXIMUM_K={self.maximum_k}")
        if self.exposure_file_megabytes > self.exposure_keep_megabytes:
            raise ConfigurationError(
                f"{PREFIX}EXPOSURE_FILE_MEGABYTES={self.exposure_file_megabytes:g} is above "
                f"{PREFIX}EXPOSURE_KEEP_MEGABYTES={self.exposure_keep_megabytes:g}"
            )
        if self.events and not self.exposures:
            raise ConfigurationError(
                f"{PREFIX}EVENTS=true needs {PREFIX}EXPOSURES=true: outcomes are written to the same log"
            )


def _variable(location: Sequence[int | str]) -> str:
    return PREFIX + "_".join(map(str, location)).upper()


def _token(env: Mapping[str, str], name: str, variable: str) -> dict[str, object]:
    direct, file = given_once(env, variable)
    if file:
        read_tokens(file, f"{variable}_FILE")
        return {f"{name}_file": file}
    return {name: check_token(direct, variable)} if direct else {}
