"""PostgreSQL and Redis on loopback, and what Airflow has to be told to use them: Debian's programs, nothing faked."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from scripts.local_stack import COMPONENTS, LocalStack
from scripts.monitoring_programs import tool
from scripts.services import StackError, free_port
from tests.api.replica import wait_until

_NOBODY = 65534  # PostgreSQL refuses to run as root
_USER = "airflow"
WORKER = {"worker": ("celery", "worker", "--concurrency", "4", "--skip-serve-logs")}


class Postgres:
    """A database server with a folder of its own; killed and started again it has what was committed.

    Attributes:
        port: of loopback.
        password: of its one user, who owns everything.
    """

    def __init__(self) -> None:
        """Make the folder; nothing runs yet.

        Raises:
            StackError: there is no PostgreSQL, or it can't make its files.
        """
        self.port, self.password = free_port(), secrets.token_urlsafe(16)
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._nobody = self._folder if os.geteuid() == 0 else None
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._nobody:
            for path in (self._folder, secret):
                os.chown(path, _NOBODY, _NOBODY)
        initdb = [*self._program("initdb"), "--pgdata", str(self._folder / "data"), "--username", _USER, "--no-sync"]
        initdb += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(initdb, cwd=self._folder, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            self.remove()
            raise StackError(f"initdb failed: {done.stdout[-500:]}{done.stderr}")

    @property
    def command(self) -> list[str]:
        """The server itself, in the foreground."""
        data, here = str(self._folder / "data"), "listen_addresses=127.0.0.1"
        return [*self._program("postgres"), "-D", data, "-p", str(self.port), "-c", here, "-k", str(self._folder)]

    @property
    def address(self) -> str:
        """User, password, host, port and database, as in a URL."""
        return f"{_USER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with self._connect() as connection:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        return int(found[0]) if found else 0

    def remove(self) -> None:
        """Delete its files, once it has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(f"postgresql://{self.address}", connect_timeout=2)

    def _program(self, name: str) -> list[str]:
        found = _found(name)
        if self._nobody is None:
            return [found]
        return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", found]


class Redis:
    """A queue that survives being killed, but for its last second."""

    def __init__(self, home: Path) -> None:
        self.port, self.password = free_port(), secrets.token_urlsafe(16)
        self._folder = home / "redis"
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def command(self) -> list[str]:
        """The server itself, in the foreground."""
        kept = ["--appendonly", "yes", "--save", "", "--dir", str(self._folder)]
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", self.password]
        return [_found("redis-server"), *own, *kept]

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


class Servers:
    """What Airflow keeps its state in, and what hands out its tasks.

    Attributes:
        executor: ``LocalExecutor`` or ``CeleryExecutor``.
        postgres: the database.
        redis: the queue; only Celery has one.
    """

    def __init__(self, home: Path, executor: str) -> None:
        self.executor = executor
        self.postgres = Postgres()
        self.redis = Redis(home) if executor == "CeleryExecutor" else None

    def start(self, stack: LocalStack) -> None:
        """Start them as services of the stack, then all that Airflow consists of.

        Raises:
            StackError: something did not come up.
        """
        stack.start_service("postgres", self.postgres.command, stack.home / "logs" / "postgres.log")
        if self.redis is not None:
            stack.start_service("redis", self.redis.command, stack.home / "logs" / "redis.log")
        wait_until("PostgreSQL answers", self.postgres.answers, 60.0)
        stack.start_components(COMPONENTS if self.redis is None else {**COMPONENTS, **WORKER})

    @property
    def environment(self) -> Mapping[str, str]:
        """What Airflow has to know."""
        own = {
            "AIRFLOW__CORE__EXECUTOR": self.executor,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.postgres.address}",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        if self.redis is None:
            return own
        return {
            **own,
            "AIRFLOW__CELERY__BROKER_URL": self.redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{self.postgres.address}",
        }


def _found(name: str) -> str:
    program = tool(name)
    if program is None:
        raise StackError(f"{name} not found: bash scripts/debian_tools.sh fetches it, or says why it can't")
    return str(program)
