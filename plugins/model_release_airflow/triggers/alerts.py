"""Watch Alertmanager for firings that nobody has decided on yet; only reads."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.sources import ALERTMANAGER_URL, Sources
from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.paths import ReleasePaths
from model_release_airflow.shared import EVIDENCE, Pace, pause

if TYPE_CHECKING:
    from model_release.evidence import Alert

REMIND_SECONDS = 60.0  # after which a firing that is still not decided on is told again
_OFF_SECONDS = 3600.0


class AlertsEvent(TypedDict):
    """Names of the firings to decide on; the worker asks Alertmanager itself."""

    firings: list[str]


class AlertsTrigger(BaseEventTrigger):
    """Look at Alertmanager again and again; an event for what is new, none for what the ledger knows.

    It keeps nothing that matters: one that was restarted, or runs twice, tells again what is not decided on, and nothing
    else.  Without ``ALERTMANAGER_URL`` it says so in the log, and waits.  It never ends by itself.

    :param poll_seconds: Pause between two looks; while Alertmanager does not answer, up to 30 seconds.
    """

    def __init__(self, *, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is needed to make the same trigger elsewhere."""
        return "model_release_airflow.triggers.alerts.AlertsTrigger", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire whenever somebody has to decide."""
        pace, told = Pace(self.poll_seconds), dict[str, float]()
        seconds = pause(self.poll_seconds, first=True)
        while True:
            await asyncio.sleep(seconds)
            seconds = pause(self.poll_seconds)
            if not pace.due(time.monotonic()):
                continue
            try:
                sources = Sources.from_environment()
                if sources.alertmanager_url is None:
                    self.log.warning("%s is not set: no alert starts a rollback", ALERTMANAGER_URL)
                    seconds = _OFF_SECONDS
                    continue
                firings = await self._waiting(sources, pace)
            except (ModelReleaseError, OSError) as error:  # a ledger that is being restored, for example
                self.log.warning("can't look at alerts: %s", error)
                continue
            if news := self._news(firings, told, time.monotonic()):
                yield TriggerEvent(dict(AlertsEvent(firings=news)))  # type: ignore[no-untyped-call]

    async def _waiting(self, sources: Sources, pace: Pace) -> list[str]:
        """Return the names of the firings that wait for a decision, none while Alertmanager does not answer."""
        from model_release.adapters.alertmanager import firing
        from model_release.evidence import Missing
        from model_release.firings import concerning

        question = ("firing", sources.alertmanager_url)
        answer = await EVIDENCE.ask(question, self.poll_seconds, functools.partial(firing, sources))
        pace.note(time.monotonic(), answered=not isinstance(answer, Missing))
        if isinstance(answer, Missing):
            self.log.warning("can't look at alerts: %s", answer.reason)
            return []
        alerts = concerning(answer)
        if not alerts:
            return []  # the usual case, without a look at registry and ledger
        return await EVIDENCE.in_thread(lambda: _undecided(alerts))

    def _news(self, firings: list[str], told: dict[str, float], now: float) -> list[str]:
        """Return what was not told, or so long ago that something must have gone wrong; ``told`` is kept up to date."""
        for name in set(told) - set(firings):
            del told[name]
        news = [name for name in firings if now - told.get(name, -REMIND_SECONDS) >= REMIND_SECONDS]
        told.update(dict.fromkeys(news, now))
        return news


def _undecided(alerts: Sequence[Alert]) -> list[str]:
    from model_release.acting import waiting

    paths = ReleasePaths.from_environment()
    return waiting(alerts, FileRegistry(paths).read(), FileLedger(paths).read(), now=utc_now())
