"""Silence alerts about the data that repeat, and end the silence when the data is good again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from model_release.adapters.sources import ALERTMANAGER_URL, Sources
from model_release.contract import utc_now
from model_release.errors import AlertsUnavailableError
from model_release.standing import SILENCING
from model_release_airflow.context import Stores, actor, decisions_fail
from model_release_airflow.failures import failed_work, record_working_again

if TYPE_CHECKING:
    from model_release.ledger import LedgerEntry
    from model_release.quieting import Seen

_ROUNDS = 5  # after two, another run or a person is changing silences at the same time


class AlertsQuietOperator(BaseOperator):
    """Give every alert about the data's quality that repeats one silence, and end it when the data is good again.

    Set by ``model-release``, for exactly that alert; extended, not duplicated, also if two run at once; at most 24 hours,
    then it is heard for a while.  What happened stands in the ledger.  Returns the texts of what is news.  Without
    ``ALERTMANAGER_URL`` it is skipped.

    :param firings: So many firings within ``within_hours`` are a repetition.
    :param within_hours: See ``firings``.
    :param longer_than_hours: So is an alert that fires for longer than this.
    :param silence_hours: How long a silence is set for, up to 24; one that is half over is extended.
    :param pause_hours: How long an alert is heard after its silence ran out, or a person ended it.
    """

    def __init__(
        self,
        *,
        firings: int = 3,
        within_hours: float = 24.0,
        longer_than_hours: float = 2.0,
        silence_hours: float = 12.0,
        pause_hours: float = 4.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", failed_work(SILENCING))
        super().__init__(**kwargs)
        self.firings = firings
        self.within_hours = within_hours
        self.longer_than_hours = longer_than_hours
        self.silence_hours = silence_hours
        self.pause_hours = pause_hours

    def execute(self, context: Mapping[str, Any]) -> list[str]:
        """Look, note what fires, tell Alertmanager until nothing is left to tell, and note what is silent."""
        from model_release import quieting

        with decisions_fail():
            rules = quieting.Rules(
                firings=self.firings,
                within_hours=self.within_hours,
                longer_than_hours=self.longer_than_hours,
                silence_hours=self.silence_hours,
                pause_hours=self.pause_hours,
            )
            stores, sources = Stores.from_environment(), Sources.from_environment()
            if sources.alertmanager_url is None:
                raise AirflowSkipException(f"{ALERTMANAGER_URL} is not set: no alert is silenced")
            origin = {"dag": context["dag"].dag_id, "by": actor(context)}
            self._write(stores, quieting.firings(self._look(stores, sources), **origin))
            seen = self._settled(stores, sources, rules)
            news = self._write(stores, quieting.notes(seen, **origin))
            record_working_again(SILENCING, context)
        return news

    def _look(self, stores: Stores, sources: Sources) -> Seen:
        from model_release.adapters.alertmanager_silences import alerts_and_silences
        from model_release.adapters.offline_evidence import read_data_quality
        from model_release.quieting import Seen

        alerts, silences = asyncio.run(alerts_and_silences(sources))
        quality = read_data_quality(stores.paths)
        return Seen(alerts, silences, stores.ledger.read(), quality, utc_now())

    def _settled(self, stores: Stores, sources: Sources, rules: Any) -> Seen:
        """Tell Alertmanager what is to be told, look again, and so on until nothing is; return the last look."""
        from model_release.adapters.alertmanager_silences import carry_out
        from model_release.quieting import plan

        for _ in range(_ROUNDS):
            seen = self._look(stores, sources)
            todo = plan(seen, rules)
            if not todo:
                return seen
            self.log.info("to set or extend: %d, to end: %s", len(todo.wanted), ", ".join(todo.expired) or "none")
            asyncio.run(carry_out(sources, todo))
        raise AlertsUnavailableError(f"Alertmanager's silences did not settle in {_ROUNDS} rounds")

    def _write(self, stores: Stores, entries: list[LedgerEntry]) -> list[str]:
        new = [entry for entry in entries if stores.ledger.append(entry)]
        for entry in new:
            self.log.info("%s: %s", entry.event, entry.reason)
        return [entry.reason for entry in new]
