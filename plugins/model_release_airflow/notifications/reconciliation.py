"""Tell people what the newest reconciliation found: once, and never of a day that is long over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseNotifier

from model_release.contract import utc_now
from model_release_airflow.context import Stores, actor, ends_at, release_id_of
from model_release_airflow.notifications.wecom import DEFAULT_CONN_ID, dag_run_link, tell_once


class WeComReconciliationNotifier(BaseNotifier):
    """Tell the log and a WeCom group robot of the newest reconciliation; a callback of ``recommendation_reconciliation``.

    Whichever DAG run has ended, the newest file is told, and the ledger remembers what was told: a backfill of old days
    tells nothing, a day that is reconciled again only if it says something else, and a lost callback is made up for.

    :param conn_id: Connection of the robot; see :class:`WeComRobotNotifier`.
    :param failed: Whether the DAG run failed: then that is told.
    """

    template_fields: Sequence[str] = ("conn_id",)

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, *, failed: bool = False) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.failed = failed

    def notify(self, context: Mapping[str, Any]) -> None:
        """Compose, claim and tell what is news."""
        from model_release.adapters.reconciliation_files import newest_reconciliation, read_reconciliation
        from model_release.evidence import Missing
        from model_release.reconciling.words import failure, is_news, message

        stores, link, now = Stores.from_environment(), dag_run_link(context), utc_now()
        if self.failed:
            about = ends_at(context) if "dag_run" in context else now  # Airflow may give no more than DAG and run id
            told, release_id, fresh = failure(link=link), release_id_of(context), is_news(about, now)
        else:
            date = newest_reconciliation(stores.paths)
            found = date if isinstance(date, Missing) else read_reconciliation(stores.paths, date, whole=True)
            if isinstance(found, Missing):
                self.log.warning("nothing to tell: %s", found.reason)
                return
            told, release_id, fresh = (
                message(found, link=link),
                f"reconciliation:{found.date}",
                is_news(found.day[1], now),
            )
        if not fresh:
            self.log.info("old, not told: %s", told.title)
            return
        tell_once(stores, told, release_id=release_id, by=actor(context), log=self.log, conn_id=self.conn_id)
