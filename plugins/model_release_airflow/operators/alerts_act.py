"""Decide what the alerts that fire start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from model_release.adapters.sources import ALERTMANAGER_URL, Sources
from model_release.contract import utc_now
from model_release.errors import AlertsUnavailableError
from model_release.ledger import Event
from model_release.standing import ACTING
from model_release_airflow.context import Stores, actor, decisions_fail
from model_release_airflow.failures import failed_work, record_working_again


class AlertsActOperator(BaseOperator):
    """Decide on every firing alert that was not decided on, write it to the ledger, and return the rollbacks to start.

    It asks Alertmanager itself, whatever woke it.  Returns a list of ``{trigger_run_id, conf}``, for a
    ``TriggerDagRunOperator``; started twice, they are one DAG run.  Without ``ALERTMANAGER_URL`` it is skipped.

    :param rollback_dag: The DAG that goes back.
    """

    def __init__(self, *, rollback_dag: str = "recommendation_rollback", **kwargs: Any) -> None:
        kwargs.setdefault("on_failure_callback", failed_work(ACTING))
        super().__init__(**kwargs)
        self.rollback_dag = rollback_dag

    def execute(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Ask, decide, write down; the alerts first, so that what is current is newer than what they say."""
        from model_release.acting import react, to_start
        from model_release.adapters.alertmanager import firing
        from model_release.evidence import Missing

        with decisions_fail():
            stores, sources = Stores.from_environment(), Sources.from_environment()
            if sources.alertmanager_url is None:
                raise AirflowSkipException(f"{ALERTMANAGER_URL} is not set: no alert starts a rollback")
            alerts = asyncio.run(firing(sources))
            if isinstance(alerts, Missing):
                raise AlertsUnavailableError(alerts.reason)
            registry, entries = stores.registry.read(), stores.ledger.read()
            by, now = actor(context), utc_now()
            for entry in react(alerts, registry, entries, rollback_dag=self.rollback_dag, by=by, at=now):
                stores.ledger.append(entry)
                acts = "acts" if entry.event is Event.ALERT_ACTED else "is left alone"
                self.log.info("%s %s: %s", entry.details["dag_run_id"], acts, entry.reason)
            starts = to_start(stores.ledger.read(), registry, now=now)
            if not starts:  # else whoever starts them knows
                record_working_again(ACTING, context)
        return [{"trigger_run_id": start.dag_run_id, "conf": dict(start.conf)} for start in starts]
