"""Where Airflow and the replicas are, who asks, and how long: from the environment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from model_release.adapters.addresses import bearer, check_url
from model_release.adapters.airflow_api import Login, airflow_address
from model_release.adapters.tokens import check_token, secret_of, token_of
from model_release.asking import check_dag_id
from model_release.contract import RELOAD_PATH
from model_release.errors import ConfigurationError

BASE_URL = "AIRFLOW_BASE_URL"
USERNAME, PASSWORD, TOKEN = "AIRFLOW_USERNAME", "AIRFLOW_PASSWORD", "AIRFLOW_TOKEN"
DAG_ID = "AIRFLOW_DAG_ID"
TIMEOUT, POLL_INTERVAL, PATIENCE = "AIRFLOW_TIMEOUT", "AIRFLOW_POLL_INTERVAL", "AIRFLOW_PATIENCE"
RELOAD_URL, RELOAD_TOKEN = "MODEL_RELOAD_URL", "MODEL_RELOAD_TOKEN"
SECRETS = (USERNAME, PASSWORD, TOKEN, RELOAD_TOKEN)  # each has a twin ``<name>_FILE``
DEFAULT_DAG_ID = "recommendation_pipeline"
DEFAULT_TIMEOUT, DEFAULT_POLL_INTERVAL, DEFAULT_PATIENCE = 3600.0, 5.0, 300.0
_LONGEST_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Settings:
    """All of it.

    Attributes:
        timeout_seconds: how long the DAG run may take, from when it was asked for.
        poll_seconds: between two looks.
        patience_seconds: how long Airflow, and then the replicas, may be out of reach at a time.
        replicas: base address of each.
        reload_token: for a replica that lags; None: it is not told.
    """

    airflow_url: str
    login: Login
    replicas: tuple[str, ...]
    dag_id: str = DEFAULT_DAG_ID
    timeout_seconds: float = DEFAULT_TIMEOUT
    poll_seconds: float = DEFAULT_POLL_INTERVAL
    patience_seconds: float = DEFAULT_PATIENCE
    reload_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read every variable; an empty one is not set.

        Raises:
            ConfigurationError: one is missing, says what can't be used, or contradicts another; names it.
        """
        timeout, poll = _seconds(env, TIMEOUT, DEFAULT_TIMEOUT), _seconds(env, POLL_INTERVAL, DEFAULT_POLL_INTERVAL)
        if poll > timeout:
            raise ConfigurationError(f"{POLL_INTERVAL} is {poll:g} and {TIMEOUT} {timeout:g}: nothing would be seen")
        reload_token = token_of(env, RELOAD_TOKEN)
        with _about(RELOAD_TOKEN):
            bearer(reload_token)
        with _about(DAG_ID):
            dag_id = check_dag_id(env.get(DAG_ID) or DEFAULT_DAG_ID)
        return cls(
            airflow_url=_airflow(env),
            login=_login(env),
            replicas=_replicas(env),
            dag_id=dag_id,
            timeout_seconds=timeout,
            poll_seconds=poll,
            patience_seconds=_seconds(env, PATIENCE, DEFAULT_PATIENCE),
            reload_token=reload_token,
        )


@contextmanager
def _about(variable: str) -> Iterator[None]:
    """Name the variable that an error is about."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable}: {error}") from None  # its cause may show what was given


def _airflow(env: Mapping[str, str]) -> str:
    given = env.get(BASE_URL, "").strip()
    if not given:
        raise ConfigurationError(
            f"{BASE_URL} is not set: say where Airflow is, for example https://airflow.example.com"
        )
    with _about(BASE_URL):
        return airflow_address(given)


def _login(env: Mapping[str, str]) -> Login:
    username, password, token = secret_of(env, USERNAME), secret_of(env, PASSWORD), secret_of(env, TOKEN)
    missing = [name for name, value in ((USERNAME, username), (PASSWORD, password)) if not value]
    if token and len(missing) < 2:  # noqa: PLR2004  (neither of the two)
        raise ConfigurationError(f"{TOKEN} is set, and {USERNAME} or {PASSWORD} too: give the one or the other")
    if token:
        return Login(token=check_token(token, TOKEN))
    if missing:
        raise ConfigurationError(f"{' and '.join(missing)} not set: give {USERNAME} and {PASSWORD}, or {TOKEN}")
    return Login(username=username or "", password=password or "")


def _replicas(env: Mapping[str, str]) -> tuple[str, ...]:
    given = env.get(RELOAD_URL, "").replace(",", " ").split()
    if not given:
        raise ConfigurationError(
            f"{RELOAD_URL} is not set: name every replica of the recommendation API, for example http://10.0.0.5:8000"
        )
    with _about(RELOAD_URL):
        return tuple(dict.fromkeys(check_url(url.rstrip("/").removesuffix(RELOAD_PATH)) for url in given))


def _seconds(env: Mapping[str, str], variable: str, default: float) -> float:
    given = env.get(variable) or default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= _LONGEST_SECONDS:
        raise ConfigurationError(f"{variable} is {given!r}, expected seconds above 0, up to {_LONGEST_SECONDS:g}")
    return value
