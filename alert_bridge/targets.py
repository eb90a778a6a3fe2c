"""Who is told: group robots, an app, or only the log; what each takes, and what may be done about a lost answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from alert_bridge.compose import Form
from alert_bridge.settings import APP, Settings
from model_release.adapters.wecom import WeComRobot
from model_release.adapters.wecom_app import APP_BYTES, REPEATABLE_SECONDS, WeComApp
from model_release.adapters.wecom_parts import Part
from model_release.messages import MARKDOWN_BYTES

LOG = "log"
_SAFETY_SECONDS = 600.0  # clocks differ
_log = logging.getLogger(__name__)


class Sender(Protocol):
    """Sends one message, once."""

    def send(self, part: Part) -> None:
        """Send it.

        Raises:
            MessageNotSentError: it was not taken, or it is not known whether it was.
        """

    def close(self) -> None:
        """Close its connections."""


@dataclass(frozen=True)
class Target:
    """One place where people read.

    Attributes:
        name: in the queue, in logs, and in the address that Alertmanager posts to.
        sender: the way there.
        form: of its messages.
        repeatable_seconds: how long after the first try a message whose answer got lost may be sent again, because the
            service then knows it again; 0: never.
    """

    name: str
    sender: Sender
    form: Form
    repeatable_seconds: float = 0.0


class LogSender:
    """Tells the log, where nobody else is configured."""

    def send(self, part: Part) -> None:
        """Write it down."""
        _log.warning("%s", part.content)

    def close(self) -> None:
        """Nothing is open."""


def targets_of(settings: Settings) -> tuple[Target, ...]:
    """Return everybody whom the settings name."""
    mentioned, mobiles = settings.who
    wecom = {"url": settings.wecom_url, "timeout_seconds": settings.attempt_seconds, "proxy": settings.proxy}
    found = [
        Target(
            name,
            WeComRobot(key, **wecom),  # type: ignore[arg-type]  # of a dict of mixed types
            Form(MARKDOWN_BYTES, settings.most_parts, mentioned, mobiles),
        )
        for name, key in settings.robot_keys.items()
    ]
    if settings.app_secret is not None:
        app = WeComApp(
            corp_id=settings.app_corp_id,
            secret=settings.app_secret.get_secret_value(),
            agent_id=settings.app_agent_id,
            to_user=settings.app_to_user,
            to_party=settings.app_to_party,
            **wecom,  # type: ignore[arg-type]
        )
        form = Form(APP_BYTES, settings.most_parts)  # whoever an app writes to is called by that
        found.append(Target(APP, app, form, REPEATABLE_SECONDS - _SAFETY_SECONDS))
    if settings.log_only:
        found.append(Target(LOG, LogSender(), Form(MARKDOWN_BYTES, settings.most_parts)))
    return tuple(found)
