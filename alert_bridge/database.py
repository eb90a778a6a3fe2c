"""The bridge's memory: one SQLite file, in which a transaction that was answered survives a killed process and a power cut.

``alerts`` remembers what was told, ``messages`` holds what is still to be sent, ``sends`` when each target got something.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from model_release.errors import ConfigurationError, ModelReleaseError
from model_release.versions import too_new

_log = logging.getLogger(__name__)
_NAME = "queue.sqlite"
_SCHEMA_VERSION = 1
_LOCK_SECONDS = 2.0  # nobody but a person's tool holds it
_SCHEMA = """
CREATE TABLE alerts (
    target TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    starts_at INTEGER NOT NULL,         -- microseconds since 1970
    firing INTEGER NOT NULL,            -- the message that tells it
    resolved INTEGER,                   -- the message that tells its end
    told TEXT NOT NULL,                 -- waiting, told or refused: what became of the firing message
    seen REAL NOT NULL,                 -- last heard of, seconds since 1970
    PRIMARY KEY (target, fingerprint, starts_at)
) WITHOUT ROWID;
CREATE INDEX alerts_by_firing ON alerts (firing);
CREATE INDEX alerts_by_resolved ON alerts (resolved);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- firing, resolved or note
    body TEXT NOT NULL,                 -- JSON: the webhook with the alerts that it is about; of a note: number and titles
    queued_at REAL NOT NULL,
    parts TEXT,                         -- JSON, once it is composed
    titles TEXT,                        -- JSON: its alerts in one line each, once it is composed
    next_part INTEGER NOT NULL DEFAULT 0,
    sending INTEGER NOT NULL DEFAULT 0, -- 1 while the next part is under way
    first_try REAL,                     -- of the next part
    tries INTEGER NOT NULL DEFAULT 0,   -- of the next part
    not_before REAL NOT NULL DEFAULT 0,
    in_doubt INTEGER NOT NULL DEFAULT 0 -- 1: the answer to a part got lost
);
CREATE INDEX messages_by_target ON messages (target, id);
CREATE TABLE sends (target TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX sends_by_target ON sends (target, at);
"""


class NotStoredError(ModelReleaseError):
    """The disk did not take it, so nobody was promised anything."""


class Database:
    """One connection for all threads of the one process that may use the folder."""

    def __init__(self, folder: Path) -> None:
        """Open the database in ``folder``, or make it; one that is damaged is put aside, and the log says so.

        Raises:
            ConfigurationError: another process uses the folder, it can't be written, or the file is of a later version.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner = FileLock(folder / "lock")
            self._owner.acquire(timeout=0)
        except Timeout:
            raise ConfigurationError(f"another bridge uses {folder}: each needs a folder of its own") from None
        except OSError as error:
            raise ConfigurationError(f"{folder} can't be written: {error.strerror}") from error
        self._lock = threading.RLock()
        path = folder / _NAME
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError as error:
            self._owner.release()
            raise ConfigurationError(f"{path} can't be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            aside = _put_aside(path)
            _log.error("%s is damaged (%s) and was put aside as %s: what waited in it is lost", path, error, aside)
            self._connection = _open(path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; what is done with it is on disk when the block has ended, or not at all.

        Raises:
            NotStoredError: the disk is full, broken or gone.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise NotStoredError(f"the queue can't be written: {error}") from error

    def close(self) -> None:
        """Close it, and let others use the folder."""
        with self._lock:
            self._connection.close()
        self._owner.release()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:  # before anything is written
        raise ConfigurationError(f"{path}: {too_new(version, _SCHEMA_VERSION)}; nothing was changed")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode only this one survives a power cut
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")


def _put_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for end in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + end)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + end))
    return aside
