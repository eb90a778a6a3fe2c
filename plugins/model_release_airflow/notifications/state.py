"""Tell people what stands in the ledger and nobody was told: each fact once, whichever DAG run finds it."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from airflow.sdk import BaseNotifier

from model_release import standing
from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import LedgerEntry
from model_release.messages import Message
from model_release.unsent import not_sent
from model_release_airflow.context import Stores, actor, release_id_of
from model_release_airflow.notifications.wecom import DEFAULT_CONN_ID, dag_run_link, tell_robot


class Words(Protocol):
    """A module that knows what is news, and how it is said."""

    def untold(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """Return what nobody was told yet."""

    def claim(self, entry: LedgerEntry, *, by: str, at: dt.datetime) -> LedgerEntry:
        """Return the entry that says that ``entry`` is told."""

    def compose(self, news: Sequence[LedgerEntry], entries: Sequence[LedgerEntry], *, link: str) -> Message:
        """Return the message about ``news``."""


class WeComStateNotifier(BaseNotifier):
    """Tell the log and a WeCom group robot what ``recommendation_reconcile_state`` found; a callback of the DAG.

    What was told stands in the ledger, fact by fact.  A DAG run that found nothing new tells nothing; one whose callback
    was lost is told by the next one.  Without the connection only the log is written.

    :param conn_id: Connection of the robot; see :class:`WeComRobotNotifier`.
    """

    template_fields: Sequence[str] = ("conn_id",)

    def __init__(self, conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.conn_id = conn_id

    def notify(self, context: Mapping[str, Any]) -> None:
        """Claim everything that nobody was told yet, and tell it in one message."""
        tell_news(context, self.conn_id, self.words(), self.log)

    def words(self) -> Words:
        """Return what knows what is news, and how it is said."""
        return standing


class WeComAlertsNotifier(WeComStateNotifier):
    """Tell the log and a WeCom group robot what ``recommendation_alert_silences`` did; a callback of the DAG.

    A silence that was set, one that is over, and data that is good again: each once, as :class:`WeComStateNotifier`.

    :param conn_id: Connection of the robot; see :class:`WeComRobotNotifier`.
    """

    def words(self) -> Words:
        """Return those of silences."""
        from model_release import quiet_words  # with NumPy: a DAG file is read without

        return quiet_words


def tell_news(context: Mapping[str, Any], conn_id: str, words: Words, log: Any) -> None:
    """Tell in one message what ``words`` finds in the ledger and nobody was told, once it is claimed."""
    stores, by = Stores.from_environment(), actor(context)
    entries = stores.ledger.read()
    mine = [entry for entry in words.untold(entries) if stores.ledger.append(words.claim(entry, by=by, at=utc_now()))]
    if not mine:
        log.info("nothing new to tell")
        return
    message = words.compose(mine, entries, link=dag_run_link(context))
    log.log(logging.INFO if message.good else logging.WARNING, "%s", message.markdown)
    try:
        tell_robot(conn_id, message)
    except ModelReleaseError as error:
        log.exception("the robot was not told")
        stores.ledger.append(not_sent(message.fact, error, release_id=release_id_of(context), by=by, at=utc_now()))
