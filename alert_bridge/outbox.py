"""The messages that wait, as whoever sends them sees them; every step is on disk before the next one is taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alert_bridge.database import Database
from model_release.adapters.wecom_parts import Part

Kind = Literal["firing", "resolved", "note"]
_MINUTE = 60.0
_COLUMNS = "id, kind, body, queued_at, parts, titles, next_part, first_try, tries, in_doubt"
# what tells an end waits for what tells the beginning
_READY = """
target = ? AND NOT (
    kind = 'resolved' AND EXISTS (SELECT 1 FROM alerts WHERE alerts.resolved = messages.id AND told = 'waiting')
)
"""


@dataclass(frozen=True)
class Waiting:
    """One message.

    Attributes:
        number: of the message; never used twice.
        kind: what it tells.
        body: JSON that it is composed from.
        queued_at: seconds since 1970.
        parts: what is sent, one after the other; None: it is not composed yet.
        titles: of what it tells, in one line each.
        next_part: place in ``parts`` of the next one.
        first_try: of that part, in seconds since 1970; None: it was not tried.
        tries: of that part.
        in_doubt: whether the answer to a part got lost.
    """

    number: int
    kind: Kind
    body: str
    queued_at: float
    parts: tuple[Part, ...] | None
    titles: tuple[str, ...]
    next_part: int
    first_try: float | None
    tries: int
    in_doubt: bool


@dataclass(frozen=True)
class Outbox:
    """What waits for one target."""

    database: Database
    target: str

    def next(self, now: float, longest_pause: float) -> Waiting | float:
        """Return the oldest message that may be sent now, else in how many seconds one may be (at most a minute).

        One that has to wait longer than ``longest_pause`` seconds need not: the clock was set back since.
        """
        with self.database.transaction() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE {_READY} AND NOT (not_before > ? AND not_before <= ?) "  # noqa: S608  (constants)
                "ORDER BY id LIMIT 1",
                (self.target, now, now + longest_pause),
            ).fetchone()
            if row is not None:
                return _waiting(row)
            (soonest,) = connection.execute(
                f"SELECT min(not_before) FROM messages WHERE {_READY}",  # noqa: S608
                (self.target,),
            ).fetchone()
        return _MINUTE if soonest is None else min(max(soonest - now, 0.0), _MINUTE)

    def interrupted(self) -> list[Waiting]:
        """Return the messages that were under way when the process ended: it is not known whether they arrived."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE target = ? AND sending = 1 ORDER BY id",  # noqa: S608
                (self.target,),
            ).fetchall()
        return [_waiting(row) for row in rows]

    def old(self, before: float) -> list[Waiting]:
        """Return the messages that were queued before then."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE target = ? AND queued_at < ? ORDER BY id",  # noqa: S608
                (self.target, before),
            ).fetchall()
        return [_waiting(row) for row in rows]

    def told(self, number: int) -> set[str]:
        """Return the fingerprints of those alerts whose end message ``number`` tells, and whose beginning was told."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                "SELECT fingerprint FROM alerts WHERE target = ? AND resolved = ? AND told = 'told'",
                (self.target, number),
            ).fetchall()
        return {fingerprint for (fingerprint,) in rows}

    def compose(self, waiting: Waiting, parts: Sequence[Part], titles: Sequence[str]) -> None:
        """Keep what the message says: after a restart it is the same to the byte."""
        written = json.dumps([[part.kind, part.content, part.mentioned, part.mobiles] for part in parts])
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE messages SET parts = ?, titles = ? WHERE id = ?",
                (written, json.dumps(list(titles)), waiting.number),
            )

    def room_in(self, now: float, per_minute: int) -> float:
        """Return in how many seconds the target may get another message; 0: now."""
        with self.database.transaction() as connection:
            connection.execute(
                "DELETE FROM sends WHERE target = ? AND NOT at BETWEEN ? AND ?", (self.target, now - _MINUTE, now)
            )
            times = connection.execute(
                "SELECT at FROM sends WHERE target = ? ORDER BY at DESC LIMIT ?", (self.target, per_minute)
            ).fetchall()
        return float(max(times[-1][0] + _MINUTE - now, 0.0)) if len(times) == per_minute else 0.0

    def begin(self, waiting: Waiting, now: float) -> None:
        """Remember that the next part is under way, and that it counts for the target's rate."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE messages SET sending = 1, tries = tries + 1, first_try = coalesce(first_try, ?) WHERE id = ?",
                (now, waiting.number),
            )
            connection.execute("INSERT INTO sends (target, at) VALUES (?, ?)", (self.target, now))

    def later(self, waiting: Waiting, at: float) -> None:
        """The next part did not arrive, or may be sent again without harm: it is tried again from then on."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE messages SET sending = 0, not_before = ? WHERE id = ?", (at, waiting.number))

    def done_with_part(self, waiting: Waiting, now: float, *, in_doubt: bool) -> bool:
        """Go on to the part after; return whether that was the last one, and the message is over.

        ``in_doubt``: the answer got lost.  After the last part of such a message, a note about it is queued.
        """
        over = waiting.parts is None or waiting.next_part + 1 >= len(waiting.parts)
        with self.database.transaction() as connection:
            if over:
                connection.execute("DELETE FROM messages WHERE id = ?", (waiting.number,))
                connection.execute("UPDATE alerts SET told = 'told' WHERE firing = ?", (waiting.number,))
            else:
                connection.execute(
                    "UPDATE messages SET sending = 0, next_part = next_part + 1, tries = 0, first_try = NULL, "
                    "not_before = 0, in_doubt = max(in_doubt, ?) WHERE id = ?",
                    (int(in_doubt), waiting.number),
                )
            if over and (in_doubt or waiting.in_doubt) and waiting.kind != "note":
                body = json.dumps({"number": waiting.number, "titles": waiting.titles})
                connection.execute(
                    "INSERT INTO messages (target, kind, body, queued_at) VALUES (?, 'note', ?, ?)",
                    (self.target, body, now),
                )
        return over

    def refuse(self, waiting: Waiting) -> None:
        """Give up a message that WeCom will never take; its alerts are not told again by this process."""
        told = "told" if waiting.next_part else "refused"  # a part of it was read
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM messages WHERE id = ?", (waiting.number,))
            connection.execute("UPDATE alerts SET told = ? WHERE firing = ?", (told, waiting.number))

    def drop(self, waiting: Waiting) -> None:
        """Give up a message that waited too long, or says nothing; alerts that it would have told may be told anew."""
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM messages WHERE id = ?", (waiting.number,))
            if waiting.next_part:
                connection.execute("UPDATE alerts SET told = 'told' WHERE firing = ?", (waiting.number,))
            else:
                connection.execute("DELETE FROM alerts WHERE firing = ?", (waiting.number,))


def forgive(database: Database) -> None:
    """Let alerts that were refused be told when they are sent again: a restart may have brought other settings."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM alerts WHERE told = 'refused'")


def forget(database: Database, before: float) -> None:
    """Forget alerts that were told, and that nobody spoke of since then."""
    with database.transaction() as connection:
        connection.execute(
            "DELETE FROM alerts WHERE seen < ? AND told != 'waiting' AND "
            "NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = alerts.resolved)",
            (before,),
        )


def abandon(database: Database, targets: Sequence[str], before: float) -> int:
    """Give up messages to targets that are not among ``targets``, and were queued before then; return how many."""
    others = f"target NOT IN ({', '.join('?' * len(targets))})"
    with database.transaction() as connection:
        gone = connection.execute(
            f"DELETE FROM messages WHERE {others} AND queued_at < ?",  # noqa: S608  (question marks)
            (*targets, before),
        ).rowcount
        connection.execute(
            f"DELETE FROM alerts WHERE {others} AND NOT EXISTS (SELECT 1 FROM messages WHERE id = firing) "  # noqa: S608
            "AND told = 'waiting'",
            targets,
        )
    return int(gone)


def depth(database: Database) -> tuple[int, float | None]:
    """Return how many messages wait, and since when the oldest does, in seconds since 1970."""
    with database.transaction() as connection:
        count, oldest = connection.execute("SELECT count(*), min(queued_at) FROM messages").fetchone()
    return int(count), oldest


def _waiting(row: Sequence[object]) -> Waiting:
    number, kind, body, queued_at, parts, titles, next_part, first_try, tries, in_doubt = row
    made = None
    if parts is not None:
        made = tuple(Part(one[0], one[1], tuple(one[2]), tuple(one[3])) for one in json.loads(str(parts)))
    return Waiting(
        number=number,  # type: ignore[arg-type]  # the schema says what the columns hold
        kind=kind,  # type: ignore[arg-type]
        body=str(body),
        queued_at=queued_at,  # type: ignore[arg-type]
        parts=made,
        titles=tuple(json.loads(str(titles))) if titles is not None else (),
        next_part=next_part,  # type: ignore[arg-type]
        first_try=first_try,  # type: ignore[arg-type]
        tries=tries,  # type: ignore[arg-type]
        in_doubt=bool(in_doubt),
    )
