"""Airflow 3 and Airflow 2 as their REST APIs answer, as an httpx transport; what it is to do wrong is told to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

PASSWORD, DAG = "pass-5a7e-word", "recommendation_pipeline"
_MANY = tuple({"task_id": f"t{number}", "state": "success"} for number in range(130))


@dataclass
class Server:
    """One Airflow of version 3 or 2.

    Attributes:
        runs: DAG runs by name, each with its conf.
        states: of a DAG run, one for each time somebody asks; the last one stays.
        tasks: of every DAG run, one list for each time somebody asks; the last one stays.
        left: what tasks left, by task and key.
        fault: what to answer, or raise, instead; None: nothing.
        seen: every request.
    """

    version: int = 3
    runs: dict[str, Any] = field(default_factory=dict)
    paused: bool = False
    states: list[str] = field(default_factory=lambda: ["success"])
    tasks: list[list[dict[str, Any]]] = field(default_factory=lambda: [list(_MANY)])
    left: dict[tuple[str, str], Any] = field(
        default_factory=lambda: {("close_release", "return_value"): {"phase": "verified"}}
    )
    tokens: list[str] = field(default_factory=list)
    fault: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.seen.append((request.method, path))
        broken = self.fault(request)
        return broken if broken is not None else self._answer(request, path, f"/api/v{self.version - 1}")

    @property
    def triggers(self) -> int:
        """How often a DAG run was asked for."""
        return sum(method == "POST" and path.endswith("/dagRuns") for method, path in self.seen)

    def _answer(self, request: httpx.Request, path: str, base: str) -> httpx.Response:
        if path == f"{base}/version":
            return httpx.Response(200, json={"version": "3.3.2"})
        if path == "/auth/token" and self.version == 3:
            return self._log_in(json.loads(request.content))
        if not path.startswith(f"{base}/dags/{DAG}"):
            return httpx.Response(404, json={"detail": "Not found"})
        if request.headers.get("Authorization") != self._expected():
            return httpx.Response(401 if self.version == 3 else 403, json={"detail": "Unauthorized"})
        return self._dag(request, path.removeprefix(f"{base}/dags/{DAG}"))

    def _log_in(self, login: Any) -> httpx.Response:
        if login != {"username": "ci", "password": PASSWORD}:
            return httpx.Response(401, json={"detail": "Invalid credentials"})
        self.tokens.append(f"token-{len(self.tokens)}-c9f1")
        return httpx.Response(201, json={"access_token": self.tokens[-1]})

    def _expected(self) -> str | None:
        if self.version == 2:
            return f"Basic {base64.b64encode(f'ci:{PASSWORD}'.encode()).decode()}"
        return f"Bearer {self.tokens[-1]}" if self.tokens else None

    def _dag(self, request: httpx.Request, rest: str) -> httpx.Response:
        if rest == "":
            return httpx.Response(200, json={"dag_id": DAG, "is_paused": self.paused})
        if rest == "/dagRuns":
            return self._make(json.loads(request.content))
        name, _, below = rest.removeprefix("/dagRuns/").partition("/")
        if name not in self.runs:
            return httpx.Response(404, json={"detail": "Not found"})
        return self._run(request, name, below)

    def _run(self, request: httpx.Request, name: str, below: str) -> httpx.Response:
        if below == "":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return httpx.Response(200, json={"dag_run_id": name, "state": state})
        if below == "taskInstances":
            at = int(request.url.params["offset"])
            tasks = self.tasks.pop(0) if len(self.tasks) > 1 else self.tasks[0]
            return httpx.Response(200, json={"task_instances": tasks[at : at + 100], "total_entries": len(tasks)})
        _, task, _, key = below.split("/")
        if (task, key) not in self.left:
            return httpx.Response(404, json={"detail": "Not found"})
        return httpx.Response(200, json={"value": json.dumps(self.left[task, key])})

    def _make(self, body: Any) -> httpx.Response:
        if ("logical_date" in body) != (self.version == 3):
            return httpx.Response(422 if self.version == 3 else 400, json={"detail": "logical_date"})
        if body["dag_run_id"] in self.runs:
            return httpx.Response(409, json={"detail": "exists"})
        self.runs[body["dag_run_id"]] = body["conf"]
        return httpx.Response(200, json={"dag_run_id": body["dag_run_id"], "state": "queued"})
