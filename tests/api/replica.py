"""A replica of the recommendation API in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from model_release.contract import ModelsReport, WorkerReport
from tests.api.home import UNKNOWN, Home
from tests.runs import USERS

TOKEN = "reload-token-8c1f0e5b"
WATCH_SECONDS = 0.1
PROJECT = Path(__file__).resolve().parents[2]
_RUNNING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Look again and again until ``holds``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds:g} s: {what}")
        time.sleep(0.01)


class Replica:
    """``python -m recommendation_api`` on a free port of loopback."""

    def __init__(
        self,
        home: Home,
        *,
        name: str = "replica-1",
        token: str | None = TOKEN,
        settings: Mapping[str, str] | None = None,
        module: str = "recommendation_api",
    ) -> None:
        self.home = home
        self._module = module
        self.log_path = home.paths.root / f"{name}.log"
        self._token = token
        several = int((settings or {}).get("RECOMMENDATION_API_WORKERS", "1")) > 1
        # a kept connection belongs to one worker, which a test may kill
        self._limits = httpx.Limits(max_keepalive_connections=0 if several else None)
        self._environment = {
            "MODEL_RELEASE_HOME": str(home.paths.root),
            "RECOMMENDATION_API_REPLICA": name,
            "RECOMMENDATION_API_WATCH_SECONDS": str(WATCH_SECONDS),
            "RECOMMENDATION_API_DRAIN_SECONDS": "0",
            **({"MODEL_RELOAD_TOKEN": token} if token else {}),
            **(settings or {}),
        }
        self.http = httpx.Client()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start a process and wait until it listens, ready or not."""
        before = len(self.log)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOMMENDATION_API_")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, "--host", "127.0.0.1", "--port", "0"],
                cwd=PROJECT,
                env={**environment, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        process = self.process
        wait_until(
            f"the replica listens or ends; see {self.log_path}",
            lambda: _RUNNING.search(self.log[before:]) is not None or process.poll() is not None,
        )
        found = _RUNNING.search(self.log[before:])
        assert found is not None, self.log
        self.http.close()
        self.http = httpx.Client(base_url=found[1], trust_env=False, timeout=20.0, limits=self._limits)
        wait_until(f"somebody answers; see {self.log_path}", lambda: self.answers or process.poll() is not None)
        return self

    def start_ready(self) -> Self:
        """Start a process and wait until it is ready."""
        self.start()
        wait_until("the replica is ready", lambda: self.ready)
        return self

    def kill(self) -> None:
        """End the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the process, politely if it listens to that."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.http.close()

    @property
    def url(self) -> str:
        """Its address."""
        return str(self.http.base_url).rstrip("/")

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    @property
    def answers(self) -> bool:
        """Whether a worker takes requests."""
        try:
            return self.http.get("/health/live").status_code == 200
        except httpx.ConnectError:
            return False

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.http.get("/health/ready").status_code == 200

    @property
    def authorization(self) -> dict[str, str]:
        """The header of somebody who may change what is served."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """POST with the token; without ``body``, with an empty one."""
        if body is None:
            return self.http.post(path, headers=self.authorization)
        return self.http.post(path, headers=self.authorization, json=body)

    def reload(self, **body: Any) -> dict[str, Any]:
        """Reload, which has to succeed; return the receipt."""
        answer = self.post("/models/reload", body or None)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def refuse(self, status: int, **body: Any) -> str:
        """Reload, which has to fail with ``status``; return the whole problem document as text."""
        answer = self.post("/models/reload", body or None)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        return answer.text

    def models(self) -> ModelsReport:
        """Return desired and observed state."""
        return ModelsReport.model_validate_json(self.http.get("/models").content)

    @property
    def worker(self) -> WorkerReport:
        """What its one worker says that it serves."""
        (worker,) = self.models().workers
        return worker

    def recommend(self, user_id: str, **query: Any) -> dict[str, Any]:
        """Ask as a shop would."""
        answer = self.http.get(f"/recommend/{user_id}", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def lists(self) -> dict[str, list[str]]:
        """Return what every known user and an unknown one get."""
        return {user: self.recommend(user)["items"] for user in (*USERS, UNKNOWN)}

    def serves(self, run_id: str) -> bool:
        """Whether every user gets the very lists of ``run_id``, under its name."""
        named = {self.recommend(user)["run_id"] for user in (*USERS, UNKNOWN)} == {run_id}
        return named and self.lists() == self.home.lists(run_id)

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of ``GET /metrics``; 0 if it is not there yet."""
        return sample_of(self.http.get("/metrics").text, name, labels)


def sample_of(scraped: str, name: str, labels: Mapping[str, str]) -> float:
    """Return one sample of what was scraped; 0 if it is not there."""
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return 0.0
