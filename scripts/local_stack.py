"""Airflow (standalone, SQLite) and the recommendation API on free ports, with all state in one folder.

For the demo and the tests; production is another matter.  Everything started here is ended by :meth:`LocalStack.stop`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from filelock import FileLock, Timeout

from scripts.services import PROJECT, Service, StackError, free_port

USERNAME = "admin"
AIRFLOW = str(Path(sys.executable).parent / "airflow")
START_SECONDS = 180.0
LOCAL_SETTINGS = PROJECT / "config" / "airflow_local_settings.py"
COMPONENTS: Mapping[str, Sequence[str]] = {  # names of services, of which one answers as "airflow"
    "airflow": ("api-server",),
    "scheduler": ("scheduler",),
    "triggerer": ("triggerer",),
    "processor": ("dag-processor",),
}
API_WORKERS = 2  # a reload has to reach more than one
# What Airflow itself does, and prints before every answer of its command; nobody here can act on it.
_WARNINGS = (
    "ignore:Could not import graphviz:UserWarning",  # only `dags show` draws with it
    "ignore:GitWildMatchPattern:DeprecationWarning",  # its reader of .airflowignore, with a newer pathspec
)


@dataclass
class LocalStack:
    """Airflow and one replica of the recommendation API, with two workers.

    Attributes:
        home: folder for everything they write.
        extra: environment variables on top of the stack's own.
        schedule: cron expression for ``recommendation_pipeline``; empty: it is only triggered.
    """

    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    schedule: str = ""
    services: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose ports and secrets; nothing is started yet."""
        self.home = self.home.resolve()
        self.airflow_port, self.api_port = free_port(), free_port()
        self.username = USERNAME
        self._claim = FileLock(self.home / ".lock")
        self.password, self.viewer_password, self._jwt, self.reload_token = self._secrets()

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's UI and REST API."""
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def api_url(self) -> str:
        """Address of the recommendation API."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of the stack, and of an ``airflow`` command that belongs to it."""
        base = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        airflow = self.home / "airflow"
        connection = {
            "conn_type": "recommendation_api",
            "host": "127.0.0.1",
            "port": self.api_port,
            "schema": "http",
            "password": self.reload_token,
        }
        settings = {
            "AIRFLOW_HOME": str(airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin,viewer:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow / "passwords.json"),
            "AIRFLOW__API__PORT": str(self.airflow_port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__BASE_URL": self.airflow_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._jwt,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow / 'airflow.db'}",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(airflow / "logs"),
            "AIRFLOW_CONN_RECOMMENDATION_API": json.dumps(connection),
            "RECOMMENDATION_PIPELINE_SCHEDULE": self.schedule,
            "RECOMMENDATION_RECONCILE_STATE_SCHEDULE": "",  # only when somebody starts it
            "RECOMMENDATION_RECONCILIATION_SCHEDULE": "",  # the same
            "RECOMMENDATION_ALERT_SILENCES_SCHEDULE": "",  # the same
            "MODEL_RELEASE_HOME": str(self.home),
            "MODEL_RELOAD_TOKEN": self.reload_token,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "2",
            "PYTHONWARNINGS": ",".join(_WARNINGS),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return {**base, **settings, **self.extra}

    def start(self, *, progress: Callable[[str], None] = lambda _: None) -> Self:
        """Start everything and wait until it answers.

        Raises:
            StackError: something did not come up in time.
        """
        self._lock()
        try:
            self.start_api()
            progress("starting the recommendation API and Airflow")
            self.start_airflow()
            self.wait_for("recommendation API", f"{self.api_url}/health/live")
            progress("recommendation API is up, waiting for Airflow")
            self.wait_for_airflow()
            progress("Airflow is up")
        except BaseException:
            self.stop()
            raise
        return self

    def wait_for_airflow(self) -> None:
        """Wait until every part of Airflow is healthy, and its API has answered tasks once.

        Raises:
            StackError: it died, or time is up.
        """
        self.wait_for("airflow", f"{self.airflow_url}/api/v2/monitor/health", ready=_airflow_is_healthy)
        httpx.get(
            f"{self.airflow_url}/execution/health", timeout=START_SECONDS, trust_env=False
        )  # its first call is slow

    def airflow_is_healthy(self) -> bool:
        """Whether every part of Airflow is healthy now, by its API server."""
        try:
            return _airflow_is_healthy(
                httpx.get(f"{self.airflow_url}/api/v2/monitor/health", timeout=10, trust_env=False)
            )
        except httpx.HTTPError:
            return False

    def start_api(self) -> None:
        """Start the recommendation API."""
        command = [sys.executable, "-m", "recommendation_api", "--host", "127.0.0.1", "--port", str(self.api_port)]
        command += ["--workers", str(API_WORKERS)]
        self.start_service("recommendation API", command, self.home / "logs" / "recommendation-api.log")

    def start_airflow(self) -> None:
        """Start ``airflow standalone``."""
        self.prepare_airflow()
        self.start_service("airflow", [AIRFLOW, "standalone"], self.home / "logs" / "airflow.log")

    def start_components(self, components: Mapping[str, Sequence[str]] = COMPONENTS) -> None:
        """Start Airflow's components, each in a process of its own, once its database is as it should be."""
        self.prepare_airflow()
        self.airflow("db", "migrate")
        for name, arguments in components.items():
            self.start_service(name, [AIRFLOW, *arguments], self.home / "logs" / f"{name}.log")

    def prepare_airflow(self) -> None:
        """Write what Airflow reads when it starts: its local settings and its passwords; and the command for people."""
        airflow = self.home / "airflow"
        airflow.mkdir(parents=True, exist_ok=True)
        local = airflow / "config" / LOCAL_SETTINGS.name
        local.parent.mkdir(exist_ok=True)
        if not local.exists():  # a test may have brought its own
            shutil.copy(LOCAL_SETTINGS, local)
        passwords = airflow / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USERNAME: self.password, "viewer": self.viewer_password}))
        self._write_command()

    def stop(self) -> None:
        """End everything that was started, the newest first."""
        for name in reversed(list(self.services)):
            self.services.pop(name).stop()
        self._claim.release()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def airflow(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the ``airflow`` command as a person would.

        Raises:
            StackError: it failed and ``check`` is set.
        """
        command = [AIRFLOW, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=180
        )
        if check and done.returncode != 0:
            raise StackError(
                f"airflow {' '.join(arguments)} failed with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def rest(self, username: str | None = None, password: str | None = None) -> httpx.Client:
        """Return a client of Airflow's REST API, logged in."""
        login = {"username": username or self.username, "password": password or self.password}
        answer = httpx.post(f"{self.airflow_url}/auth/token", json=login, timeout=60, trust_env=False)
        answer.raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=f"{self.airflow_url}/api/v2", headers=headers, timeout=60, trust_env=False)

    def wait_for(
        self, name: str, url: str, *, ready: Callable[[httpx.Response], bool] = lambda answer: answer.is_success
    ) -> None:
        """Wait until ``url`` answers as it should.

        Raises:
            StackError: the service died, or time is up.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.services[name].check()
            with contextlib.suppress(httpx.HTTPError):
                if ready(httpx.get(url, timeout=10, trust_env=False)):
                    return
            time.sleep(0.3)
        raise StackError(f"{name} did not answer at {url} in {START_SECONDS:g} s:\n{self.services[name].tail()}")

    @property
    def command(self) -> Path:
        """The ``airflow`` command of this stack, for people."""
        return self.home / "airflow.sh"

    def _write_command(self) -> None:
        """Write :attr:`command`; it holds no secret, so it can do what needs the database and nothing else."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.environment.items() if _is_ours(name)]
        text = "\n".join(["#!/usr/bin/env bash", *lines, f'exec {shlex.quote(AIRFLOW)} "$@"', ""])
        self.command.touch(mode=0o700)
        self.command.write_text(text)

    def _lock(self) -> None:
        """Claim the folder: two stacks in one would share a database and its scheduler's work.

        Raises:
            StackError: another stack runs there.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._claim.acquire(timeout=0)
        except Timeout as error:
            raise StackError(f"another one runs in {self.home}: stop it first, or choose another folder") from error

    def start_service(self, name: str, command: list[str], log: Path) -> None:
        """Start a program that ends with the stack."""
        service = Service(name, command, log, self.environment)
        self.services[name] = service
        service.start()

    def _secrets(self) -> tuple[str, str, str, str]:
        """Return the folder's passwords and tokens, made the first time and readable by their owner alone."""
        file = self.home / "secrets.json"
        names = ("admin", "viewer", "jwt", "reload")
        if not file.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            made = {"admin": secrets.token_urlsafe(9), "viewer": secrets.token_urlsafe(9)}
            made |= {"jwt": secrets.token_urlsafe(64), "reload": secrets.token_urlsafe(32)}
            file.touch(mode=0o600)
            file.write_text(json.dumps(made))
        known = json.loads(file.read_text())
        admin, viewer, jwt, reload_token = (str(known[name]) for name in names)
        return admin, viewer, jwt, reload_token


def _is_ours(name: str) -> bool:
    ours = ("AIRFLOW", "MODEL_RELEASE_HOME", "RECOMMENDATION_", "PIPELINE_CONFIG", "PYTHONWARNINGS", "RELEASE_POLICY")
    return name.startswith(ours) and not name.startswith("AIRFLOW_CONN_") and not name.endswith("SECRET")


def _airflow_is_healthy(answer: httpx.Response) -> bool:
    if not answer.is_success:
        return False
    parts: dict[str, Any] = answer.json()
    needed = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    return all((parts.get(part) or {}).get("status") == "healthy" for part in needed)
