"""A real Airflow 2 (web server, scheduler, SQLite) on loopback, and one replica of the recommendation API."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from scripts.services import PROJECT, Service, free_port
from tests.api.home import Home
from tests.api.replica import TOKEN, Replica
from tests.automation.scene import decision

DAG = "recommendation_pipeline"
START_SECONDS = 240.0


class Airflow2:
    """It, as the cases see it."""

    base_path = "/api/v1"
    first_task = "train"
    username, token = "ci", TOKEN

    def __init__(self, command: Path, folder: Path, api_url: str) -> None:
        self._command, self._folder = command, folder
        self.airflow_port, self.api_url = free_port(), api_url
        self.password = secrets.token_urlsafe(12)
        self.url = f"http://127.0.0.1:{self.airflow_port}"
        self._control(gate="pass")
        for name, verdict in (("pass", "pass"), ("fail", "fail")):
            (folder / f"{name}.json").write_text(json.dumps(decision(verdict)))
        (folder / "dags").mkdir()
        shutil.copy(Path(__file__).with_name("dag.py"), folder / "dags" / f"{DAG}.py")
        self._services = [self._service("webserver"), self._service("scheduler")]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "PATH": f"{self._command.parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": str(self._folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.airflow_port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            "AUTOMATE_HOME": str(self._folder),
            "MODEL_RELOAD_URL": self.api_url,
            "MODEL_RELOAD_TOKEN": TOKEN,
            "NO_PROXY": "127.0.0.1",
        }

    def start(self) -> None:
        """Make the database and the user, start everything, wait until the DAG is known."""
        self._airflow("db", "migrate")
        names = ("--firstname", "c", "--lastname", "i", "--email", "ci@localhost", "--role", "Admin")
        self._airflow("users", "create", "--username", self.username, "--password", self.password, *names)
        for service in self._services:
            service.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._knows_the_dag():
            for service in self._services:
                service.check()
            assert time.monotonic() < deadline, self._services[0].tail() + self._services[1].tail()
            time.sleep(0.5)

    def stop(self) -> None:
        for service in self._services:
            service.stop()

    def dag_runs(self) -> list[str]:
        answer = httpx.get(f"{self.url}/api/v1/dags/{DAG}/dagRuns", headers=self._login, trust_env=False, timeout=60)
        return [run["dag_run_id"] for run in answer.raise_for_status().json()["dag_runs"]]

    @contextmanager
    def failing(self) -> Iterator[None]:
        self._control(gate="pass", fails=True)
        yield
        self._control(gate="pass")

    @contextmanager
    def rejecting(self) -> Iterator[None]:
        self._control(gate="fail")
        yield
        self._control(gate="pass")

    @property
    def _login(self) -> dict[str, str]:
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def _knows_the_dag(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/api/v1/dags/{DAG}", headers=self._login, trust_env=False, timeout=60)
        except httpx.HTTPError:
            return False
        return answer.is_success

    def _control(self, **said: object) -> None:
        (self._folder / "control.json").write_text(json.dumps(said))

    def _service(self, name: str) -> Service:
        return Service(name, [str(self._command), name], self._folder / f"{name}.log", self.environment)

    def _airflow(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._command), *arguments],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, (
            f"airflow {arguments[0]} {arguments[1]}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


@contextmanager
def airflow2(command: Path, folder: Path) -> Iterator[Airflow2]:
    """Give it, up and with a replica that serves ``run-a``; end it."""
    replica = Replica(Home(folder / "home"))
    try:
        replica.start_ready()
        found = Airflow2(command, folder, str(replica.http.base_url).rstrip("/"))
        try:
            found.start()
            yield found
        finally:
            found.stop()
    finally:
        replica.close()
