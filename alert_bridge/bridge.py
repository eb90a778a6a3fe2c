"""The whole bridge: its memory, its couriers, its application; started and ended together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from fastapi import FastAPI
from prometheus_client.registry import CollectorRegistry

from alert_bridge.app import Door, create_app
from alert_bridge.courier import Courier, Pace
from alert_bridge.database import Database, NotStoredError
from alert_bridge.intake import Intake
from alert_bridge.metrics import Metrics, QueueState
from alert_bridge.outbox import Outbox, abandon, depth, forget, forgive
from alert_bridge.release_state import ReleaseState
from alert_bridge.settings import PREFIX, Settings
from alert_bridge.targets import targets_of
from alert_bridge.words import Links
from model_release.adapters.tokens import tokens_of

_DAY, _HOUR = 86_400.0, 3_600.0
_log = logging.getLogger(__name__)


class Bridge:
    """Everything that runs in the process.

    Args:
        settings: of it.
        died: called when a thread of it ended by an error: without it, messages would wait for ever.
    """

    def __init__(self, settings: Settings, died: Callable[[], None]) -> None:
        """Open the queue.

        Raises:
            ConfigurationError: the state folder can't be used.
        """
        self._settings = settings
        self._died = died
        self.database = Database(settings.folder)
        self._targets = targets_of(settings)
        self._metrics = Metrics()
        self._stop = threading.Event()
        self._wakes = [threading.Event() for _ in self._targets]
        self._threads: list[threading.Thread] = []
        pace = Pace(
            per_minute=settings.messages_per_minute,
            retry_seconds=settings.retry_seconds,
            throttled_seconds=settings.throttled_seconds,
            hours=settings.queue_hours,
        )
        links = Links(settings.runbooks_url, settings.alertmanager_url, settings.airflow_url)
        self._couriers = [
            Courier(one, Outbox(self.database, one.name), self._metrics, links=links, pace=pace, clock=time.time)
            for one in self._targets
        ]

    def start(self) -> None:
        """Decide about what was interrupted, then begin to send."""
        forgive(self.database)
        for courier, wake in zip(self._couriers, self._wakes, strict=True):
            courier.recover()
            self._begin(partial(courier.run, wake, self._stop))
        self._begin(self._keep_house)
        _log.info("telling %s", ", ".join(one.name for one in self._targets))

    def close(self) -> None:
        """Stop sending; what is under way is finished, what waits stays on disk."""
        self._stop.set()
        self._wake()
        for thread in self._threads:
            thread.join()
        for target in self._targets:
            target.sender.close()
        self.database.close()

    def app(self) -> FastAPI:
        """Return the application."""
        settings = self._settings
        shown = CollectorRegistry()
        for source in (self._metrics.registry, QueueState(partial(depth, self.database)), ReleaseState(settings.paths)):
            shown.register(source)
        tokens = tokens_of(settings.token, settings.token_file, f"{PREFIX}TOKEN")
        door = Door(tokens, [one.name for one in self._targets], settings.body_kilobytes * 1024)
        intake = Intake(self.database, settings.queue_messages, time.time)
        return create_app(door, intake, self._metrics, shown, wake=self._wake, alive=self._alive)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    def _alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def _begin(self, work: Callable[[], None]) -> None:
        def watched() -> None:
            try:
                work()
            finally:
                if not self._stop.is_set():
                    self._died()

        thread = threading.Thread(target=watched, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _keep_house(self) -> None:
        """Forget, every hour, alerts that nobody spoke of for long, and messages to whom the settings don't name any more."""
        names, settings = [one.name for one in self._targets], self._settings
        while True:
            now = time.time()
            try:
                forget(self.database, now - settings.keep_days * _DAY)
                gone = abandon(self.database, names, now - settings.queue_hours * _HOUR)
            except NotStoredError as error:
                _log.error("old alerts can't be forgotten: %s", error)
            else:
                if gone:
                    self._metrics.message("expired", gone)
                    _log.error("given up after %g hours: %d messages to nobody's name", settings.queue_hours, gone)
            if self._stop.wait(_HOUR):
                return
