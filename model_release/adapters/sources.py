"""Where evidence about a trial comes from: addresses, tokens and the time to wait, from the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from model_release.adapters.addresses import bearer, check_url
from model_release.errors import ConfigurationError

PROMETHEUS_URL = "PROMETHEUS_URL"
PROMETHEUS_TOKEN = "PROMETHEUS_TOKEN"  # noqa: S105  (the variable's name)
ALERTMANAGER_URL = "ALERTMANAGER_URL"
ALERTMANAGER_TOKEN = "ALERTMANAGER_TOKEN"  # noqa: S105
TIMEOUT = "EVIDENCE_TIMEOUT_SECONDS"
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True)
class Sources:
    """Addresses of Prometheus and Alertmanager; None: not configured, so that what is asked there is missing.

    Attributes:
        timeout_seconds: for one whole collection of evidence, however many questions.
    """

    prometheus_url: str | None = None
    prometheus_token: str | None = field(default=None, repr=False)
    alertmanager_url: str | None = None
    alertmanager_token: str | None = field(default=None, repr=False)
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what could not be used, before anything is asked.

        Raises:
            ConfigurationError: an address holds credentials or is none, a token fits no header, or a time is none.
        """
        for of, url, token in (
            ("Prometheus", self.prometheus_url, self.prometheus_token),
            ("Alertmanager", self.alertmanager_url, self.alertmanager_token),
        ):
            if url is not None:
                check_url(url, of=of)
            bearer(token)
        if not 0.0 < self.timeout_seconds <= _LONGEST_SECONDS:
            raise ConfigurationError(
                f"{TIMEOUT} is {self.timeout_seconds:g}, expected above 0, up to {_LONGEST_SECONDS:g}"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Sources:
        """Take what the environment names; an empty variable is one that is not set.

        Raises:
            ConfigurationError: a variable says something that can't be used.
        """
        env = os.environ if environment is None else environment
        return cls(
            prometheus_url=env.get(PROMETHEUS_URL) or None,
            prometheus_token=env.get(PROMETHEUS_TOKEN) or None,
            alertmanager_url=env.get(ALERTMANAGER_URL) or None,
            alertmanager_token=env.get(ALERTMANAGER_TOKEN) or None,
            timeout_seconds=_seconds(env.get(TIMEOUT) or "10"),
        )


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # refused with the name of the variable
