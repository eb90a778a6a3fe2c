"""From a webhook to messages that wait: each alert once for each target, whatever is sent again.

An alert is known by target, fingerprint and beginning.  Where two Prometheus tell of it, Alertmanager keeps the earlier
beginning; so one that is known to have begun later, and has not ended, is the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alert_bridge.database import Database
from alert_bridge.webhook import Alert, Status, Webhook
from model_release.errors import ModelReleaseError

_KNOWN = """
SELECT starts_at, resolved, told FROM alerts
WHERE target = ? AND fingerprint = ? AND (starts_at = ? OR (starts_at > ? AND resolved IS NULL))
ORDER BY starts_at LIMIT 1
"""
_STATUSES: tuple[Status, ...] = ("firing", "resolved")

_Key = tuple[str, int]  # fingerprint and beginning, as it is known


class FullError(ModelReleaseError):
    """For some target as many messages wait as may; the others have theirs."""


@dataclass(frozen=True)
class Intake:
    """Writes down what is to be told.

    Attributes:
        database: where to.
        most_waiting: messages for each target.
        clock: seconds since 1970.
    """

    database: Database
    most_waiting: int
    clock: Callable[[], float]

    def take(self, webhook: Webhook, targets: Sequence[str]) -> int:
        """Queue what is new in ``webhook`` for each of ``targets``; return how many messages that makes.

        Raises:
            NotStoredError: nothing was taken.
            FullError: for some target there is no room; sent again, the webhook is told there and nowhere twice.
        """
        made, full = 0, []
        with self.database.transaction() as connection:
            for target in targets:
                news = {status: self._news(connection, webhook, target, status) for status in _STATUSES}
                if any(news.values()) and self._waiting(connection, target) >= self.most_waiting:
                    full.append(target)
                    continue
                for status, alerts in news.items():
                    if alerts:
                        self._queue(connection, webhook, target, status, alerts)
                        made += 1
        if full:
            raise FullError(f"{self.most_waiting} messages wait for {', '.join(full)}: come again")
        return made

    def _news(
        self, connection: sqlite3.Connection, webhook: Webhook, target: str, status: Status
    ) -> Mapping[_Key, Alert]:
        """Return the alerts of that status that nobody queued yet; remember of all others that they were seen."""
        found: dict[_Key, Alert] = {}
        for alert in webhook.alerts:
            if alert.status != status:
                continue
            row = connection.execute(_KNOWN, (target, alert.fingerprint, alert.start, alert.start)).fetchone()
            if row is None:
                key, new = (alert.fingerprint, alert.start), status == "firing"  # an end without a beginning is no news
            else:
                starts_at, resolved, told = row
                key = (alert.fingerprint, starts_at)
                new = status == "resolved" and resolved is None and told != "refused"
                connection.execute(
                    "UPDATE alerts SET seen = ? WHERE target = ? AND fingerprint = ? AND starts_at = ?",
                    (self.clock(), target, *key),
                )
            if new:
                found.setdefault(key, alert)
        return found

    def _queue(
        self,
        connection: sqlite3.Connection,
        webhook: Webhook,
        target: str,
        status: Status,
        alerts: Mapping[_Key, Alert],
    ) -> None:
        now = self.clock()
        number = connection.execute(
            "INSERT INTO messages (target, kind, body, queued_at) VALUES (?, ?, ?, ?)",
            (target, status, webhook.only(tuple(alerts.values())).dump(), now),
        ).lastrowid
        for key in alerts:
            if status == "firing":
                connection.execute(
                    "INSERT INTO alerts (target, fingerprint, starts_at, firing, told, seen) "
                    "VALUES (?, ?, ?, ?, 'waiting', ?)",
                    (target, *key, number, now),
                )
            else:
                connection.execute(
                    "UPDATE alerts SET resolved = ? WHERE target = ? AND fingerprint = ? AND starts_at = ?",
                    (number, target, *key),
                )

    def _waiting(self, connection: sqlite3.Connection, target: str) -> int:
        (count,) = connection.execute("SELECT count(*) FROM messages WHERE target = ?", (target,)).fetchone()
        return int(count)
