"""Tell people what does not serve as desired, and when it does again: each once, whichever DAG run finds it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseNotifier

from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry
from model_release.standing import claim, compose, untold
from model_release_airflow.context import Stores, actor, release_id_of
from model_release_airflow.notifications.wecom import DEFAULT_CONN_ID, dag_run_link, tell_robot


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
        stores, by = Stores.from_environment(), actor(context)
        entries = stores.ledger.read()
        mine = [entry for entry in untold(entries) if stores.ledger.append(claim(entry, by=by, at=utc_now()))]
        if not mine:
            self.log.info("nothing new to tell")
            return
        message = compose(mine, entries, link=dag_run_link(context))
        self.log.log(logging.INFO if message.good else logging.WARNING, "%s", message.markdown)
        try:
            tell_robot(self.conn_id, message)
        except ModelReleaseError as error:
            self.log.exception("the robot was not told")
            reason = f"{message.fact}: not sent: {error}"
            stores.ledger.append(
                LedgerEntry(at=utc_now(), event=Event.NOTIFIED, release_id=release_id_of(context), by=by, reason=reason)
            )
