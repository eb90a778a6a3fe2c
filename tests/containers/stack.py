"""The stack of docker-compose.yaml, running: its containers, what they serve, and how one of them dies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.errors import ReplicaError
from tests.deploy.compose import COMPOSE, PROJECT

AIRFLOW, PROXY, PROMETHEUS = "http://127.0.0.1:8080", "http://127.0.0.1:8000", "http://127.0.0.1:9090"
COMPOSE_SECONDS = 900
API = "recommendation-api"


class StackError(AssertionError):
    """Something did not happen as it should; the message says what."""


@dataclass(frozen=True)
class Container:
    """One container: id, service, the process that it began with (0: it is not running), address, health, image's name."""

    id: str
    service: str
    pid: int
    address: str
    health: str
    restarts: int
    image: str


@dataclass
class Stack:
    """The running stack.

    Attributes:
        secrets: folder of its secrets.
        settings: the file that takes the place of .env.
        folder: the checkout whose docker-compose.yaml it is.
    """

    secrets: Path
    settings: Path
    folder: Path = PROJECT
    rest: httpx.Client = field(default_factory=lambda: httpx.Client(base_url=f"{AIRFLOW}/api/v2", timeout=30))

    def compose(self, *arguments: str) -> str:
        """Run Docker Compose; return what it printed.

        Raises:
            StackError: it failed.
        """
        command = [str(COMPOSE), "--project-directory", str(self.folder)]
        command += ["--file", str(self.folder / "docker-compose.yaml")]
        command += ["--env-file", str(self.settings), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPOSE_SECONDS)
        if done.returncode != 0:
            raise StackError(f"docker-compose {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def containers(self, service: str = "") -> list[Container]:
        """Return the containers of a service, or all."""
        ids = _podman("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=model-release").split()
        found = [_container(entry) for entry in json.loads(_podman("inspect", *ids))] if ids else []
        return [one for one in found if service in {"", one.service}]

    def container(self, hostname: str) -> Container:
        """Return the container that calls itself so."""
        return next(one for one in self.containers() if one.id.startswith(hostname))

    def kill(self, container: Container) -> None:
        """End everything in a container at once, as a crash would; its engine does not know that it was meant."""
        os.kill(container.pid, signal.SIGKILL)

    def token(self, user: str) -> str:
        """Log in to Airflow; return what it gives ``admin`` or ``viewer`` for their password."""
        password = (self.secrets / f"airflow_{user}_password").read_text()
        answer = httpx.post(f"{AIRFLOW}/auth/token", json={"username": user, "password": password}, timeout=60)
        return str(answer.raise_for_status().json()["access_token"])

    def login(self) -> None:
        """Log in to Airflow as who may do everything."""
        self.rest.headers["Authorization"] = f"Bearer {self.token('admin')}"

    def ask(self, path: str, **parameters: Any) -> Any:
        """Ask Airflow's REST API; an outage is None, since the scheduler's and the API server's are part of the story."""
        with contextlib.suppress(httpx.TransportError):
            answer = self.rest.get(path, params=parameters)
            if answer.is_success:
                return answer.json()
        return None

    def turn_on(self, dag: str) -> None:
        """Unpause a DAG."""
        self.rest.patch(f"/dags/{dag}", json={"is_paused": False}).raise_for_status()

    def trigger(self, dag: str, name: str, conf: dict[str, Any]) -> None:
        """Turn a DAG on and begin a DAG run of it."""
        self.turn_on(dag)
        body = {"dag_run_id": name, "logical_date": None, "conf": conf}
        answer = self.rest.post(f"/dags/{dag}/dagRuns", json=body)
        if not answer.is_success:
            raise StackError(f"{dag} can't be triggered: {answer.text}")

    def tasks(self, dag: str, name: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a DAG run by their ids."""
        found = self.ask(f"/dags/{dag}/dagRuns/{name}/taskInstances") or {}
        return {task["task_id"]: task for task in found.get("task_instances", [])}

    def state(self, dag: str, name: str) -> str:
        """Return the state of a DAG run."""
        return str((self.ask(f"/dags/{dag}/dagRuns/{name}") or {}).get("state"))

    def evaluated(self, dag: str, name: str) -> str:
        """Return the run that a DAG run evaluated."""
        path = f"/dags/{dag}/dagRuns/{name}/taskInstances/evaluate/xcomEntries/return_value"
        return str(self.rest.get(path).raise_for_status().json()["value"]["run_id"])

    def served(self) -> list[str | None]:
        """Return the current run of every worker process of every replica; None for a replica that does not answer."""
        found: list[str | None] = []
        for replica in self.containers(API):
            client = RecommendationApiClient(f"http://{replica.address}:8000", timeout_seconds=5)
            try:
                found += [worker.current for worker in client.models().workers]
            except ReplicaError:
                found.append(None)
            finally:
                client.close()
        return found

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        answer = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=10)
        return list(answer.raise_for_status().json()["data"]["result"])


def wait(what: str, happened: Callable[[], bool], seconds: float, pause: float = 1.0) -> None:
    """Wait until something happened.

    Raises:
        StackError: it did not, in time.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


def _podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def _container(entry: dict[str, Any]) -> Container:
    networks: Sequence[dict[str, Any]] = list(entry["NetworkSettings"]["Networks"].values())
    return Container(
        id=entry["Id"],
        service=entry["Config"]["Labels"]["com.docker.compose.service"],
        pid=entry["State"]["Pid"],
        address=networks[0]["IPAddress"] if networks else "",
        health=re.sub(
            r"^$", "none", (entry["State"].get("Health") or entry["State"].get("Healthcheck") or {}).get("Status", "")
        ),
        restarts=entry["RestartCount"],
        image=entry["ImageName"],
    )
