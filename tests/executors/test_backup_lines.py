"""The lines of docs/backup.md, as they stand there, on a real PostgreSQL and a real installation; then a fresh one has it all."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg import sql

from model_release.adapters.file_registry import FileRegistry
from model_release.paths import ReleasePaths
from scripts.monitoring_programs import TOOLS
from scripts.services import PROJECT, Service
from tests import monitoring
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.docs_pages import DOCS
from tests.executors.servers import Postgres

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
PAGE = (DOCS / "backup.md").read_text(encoding="utf-8")
FERNET = Fernet.generate_key().decode()
PASSWORD = "of-a-shop-51c2"


def line(command: str) -> str:
    """Return the one line of the page that runs a command, with the lines that it goes on in."""
    found = re.findall(rf"^ +({re.escape(command)} (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
    assert len(found) == 1, found
    return str(found[0])


def dated(script: str) -> str:
    """Return a script with today for the day that the page has as an example."""
    today = dt.datetime.now(dt.UTC).astimezone().date()
    return script.replace("2026-01-05", f"{today:%Y-%m-%d}").replace("20260105", f"{today:%Y%m%d}")


def shell(*lines: str, backups: Path, **variables: str) -> None:
    """Run lines of the page as they stand, but for where backups are and when they were made."""
    script = dated("\n".join(lines)).replace("/backups/", f"{backups}/")
    environment = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), str(TOOLS), os.environ["PATH"])),
        **variables,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


@contextmanager
def postgresql(logs: Path) -> Iterator[Postgres]:
    """Give a server that runs and is empty."""
    server = Postgres()
    service = Service("postgres", server.command, logs / f"postgres-{server.port}.log", {})
    with ExitStack() as undone:
        undone.callback(server.remove)
        undone.callback(service.stop)
        service.start()
        wait_until("PostgreSQL answers", server.answers, 60.0)
        yield server


def rows(server: Postgres) -> Mapping[str, int]:
    """Return how many rows each table has."""
    with psycopg.connect(f"postgresql://{server.address}") as connection:
        names = [
            str(name)
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            )
        ]
        count = "SELECT count(*) FROM {}"
        found = {name: connection.execute(sql.SQL(count).format(sql.Identifier(name))).fetchone() for name in names}
    return {name: int(row[0]) for name, row in found.items() if row}


def airflow(server: Postgres, home: Path, *arguments: str) -> str:
    """Run the command ``airflow`` on a database; return what it prints."""
    own = {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__FERNET_KEY": FERNET, "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{server.address}",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    }  # fmt: skip
    command = [sys.executable, "-m", "airflow", *arguments]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reach(server: Postgres, folder: Path) -> dict[str, str]:
    """Return the variables that the page sets, for a server of the test: the password stands in a file alone."""
    secret = folder / f"pgpass-{server.port}"
    secret.write_text(f"127.0.0.1:{server.port}:*:airflow:{server.password}\n")
    secret.chmod(0o600)
    return {"AIRFLOW_DB_URL": f"postgresql://airflow@127.0.0.1:{server.port}/postgres", "PGPASSFILE": str(secret)}


def test_airflow_comes_back_in_a_fresh_postgresql(tmp_path: Path) -> None:
    """Every table has its rows, Airflow of this version runs on it, and a password that it kept can be read."""
    monitoring.need("postgres", "initdb", "pg_dump", "pg_restore")
    with postgresql(tmp_path) as old, postgresql(tmp_path) as new:
        airflow(old, tmp_path, "db", "migrate")
        airflow(old, tmp_path, "connections", "add", "shop", "--conn-type", "http", "--conn-password", PASSWORD)
        before = rows(old)
        assert before["connection"] == 1
        shell(line("pg_dump"), backups=tmp_path, **reach(old, tmp_path))
        # what came after the backup is not in it, and what was there goes
        airflow(new, tmp_path, "db", "migrate")
        shell(line("pg_restore"), backups=tmp_path, **reach(new, tmp_path))
        assert rows(new) == before
        airflow(new, tmp_path, "db", "migrate")
        assert PASSWORD in airflow(new, tmp_path, "connections", "get", "shop", "--output", "json")


def test_the_state_comes_back_in_an_empty_folder(tmp_path: Path) -> None:
    """A replica that runs says which generation the restored registry has to be above."""
    home = Home(tmp_path / "old")
    home.commit("run-b")
    to = tmp_path / "new"
    create, verify = line("python -m model_release.backup create"), line("python -m model_release.backup verify")
    shell(create, verify, backups=tmp_path, MODEL_RELEASE_HOME=str(home.paths.root))
    with ExitStack() as undone:
        replica = Replica(home).start()
        undone.callback(replica.close)
        restore = re.sub(r"http://10\.0\.0\.1[12]:8000", replica.url, line("python -m model_release.backup restore"))
        shell(f"export MODEL_RELEASE_HOME={to}", restore, backups=tmp_path)
    registry = FileRegistry(ReleasePaths(to)).read()
    assert registry.current is not None
    assert registry.current.run_id == "run-b"
    assert registry.generation > home.registry.read().generation
    assert registry.latch is not None
