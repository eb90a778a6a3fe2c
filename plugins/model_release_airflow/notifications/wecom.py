"""Tell people what became of a release: always in the log, and by a WeCom group robot if there is one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseHook, BaseNotifier, conf
from airflow.sdk.exceptions import AirflowNotFoundException

from model_release.adapters.decisions import read_decision
from model_release.adapters.wecom import WeComRobot
from model_release.adapters.wecom_call import WECOM_URL
from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry
from model_release.messages import Message, compose
from model_release.unsent import not_sent
from model_release_airflow.context import Stores, actor, release_id_of

DEFAULT_CONN_ID = "wecom_robot"
_log = logging.getLogger(__name__)


class WeComRobotNotifier(BaseNotifier):
    """Tell the log and a WeCom group robot how a release ended; a callback of the DAG.

    The message is composed from the ledger and the gate's decision.  Callbacks may run twice: the ledger remembers
    what was told, so that it is told once.  Without the connection only the log is written.

    :param conn_id: Connection with the robot's key as its password.  In its extra: ``mentioned`` (user ids, or
        ``["@all"]``) and ``mobiles``, who are mentioned when something went wrong; ``proxy``.
    :param failed: Whether the DAG run failed: what a silent ledger means.
    """

    template_fields: Sequence[str] = ("conn_id",)

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, *, failed: bool = False) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.failed = failed

    def notify(self, context: Mapping[str, Any]) -> None:
        """Compose, claim and tell."""
        stores = Stores.from_environment()
        release_id = release_id_of(context)
        message = compose(
            stores.ledger.read(),
            read_decision(stores.paths, release_id),
            release_id=release_id,
            failed=self.failed,
            link=dag_run_link(context),
        )
        tell_once(stores, message, release_id=release_id, by=actor(context), log=self.log, conn_id=self.conn_id)


def tell_once(
    stores: Stores, message: Message, *, release_id: str, by: str, log: Any, conn_id: str = DEFAULT_CONN_ID
) -> bool:
    """Tell the log and the robot, unless somebody did so already; return whether this was the first time."""
    if not _claim(stores, release_id, by, message.fact):
        log.info("told already: %s", message.title)
        return False
    log.log(logging.INFO if message.good else logging.WARNING, "%s", message.markdown)
    try:
        tell_robot(conn_id, message)
    except ModelReleaseError as error:  # no message is worth a release; a key that is none is one of these
        log.exception("the robot was not told")
        stores.ledger.append(not_sent(message.fact, error, release_id=release_id, by=by, at=utc_now()))
    return True


def _claim(stores: Stores, release_id: str, by: str, fact: str) -> bool:
    """Write down that ``fact`` is told, before it is; return False if somebody did so already."""
    entry = LedgerEntry(at=utc_now(), event=Event.NOTIFIED, release_id=release_id, by=by, reason=fact)
    return stores.ledger.append(entry)


def tell_robot(conn_id: str, message: Message) -> None:
    """Send a message to the robot of a connection; without the connection, the log was told and that is all.

    Raises:
        ModelReleaseError: it was not told, or the connection holds no usable key.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        _log.info("no connection %r: told the log only", conn_id)
        return
    extra = connection.extra_dejson
    url = f"{connection.schema or 'https'}://{connection.host}" if connection.host else WECOM_URL
    if connection.host and connection.port:
        url += f":{connection.port}"
    robot = WeComRobot(connection.password or "", url=url, proxy=extra.get("proxy"))
    try:
        robot.send_markdown(message.markdown)
        mentioned, mobiles = (_names(extra.get(name)) for name in ("mentioned", "mobiles"))
        if not message.good and (mentioned or mobiles):
            robot.send_text(message.title, mentioned=mentioned, mobiles=mobiles)  # markdown can't mention all
    finally:
        robot.close()


def _names(value: object) -> list[str]:
    """Return a list of names, which a person may also have written as text."""
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return [str(name) for name in value] if isinstance(value, list) else []


def dag_run_link(context: Mapping[str, Any]) -> str:
    """Return the address of the DAG run's page."""
    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    run_id = context.get("run_id") or context["dag_run"].run_id
    return f"{base}/dags/{quote(context['dag'].dag_id, safe='')}/runs/{quote(run_id, safe='')}"
