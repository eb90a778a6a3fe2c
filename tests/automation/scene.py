"""A fake Airflow, fake replicas and a clock that nobody waits for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from model_release.automation.clock import Clock
from model_release.automation.command import main
from model_release.registry import Current, Registry
from model_release.verdict import CheckResult, Decision, Verdict
from tests.fake_replicas import NOW, FakeReplica
from tests.fakes import MemoryRegistry
from tests.fakes_airflow import DAG, PASSWORD, Server

COMMIT, RUN = "a1" * 20, "20260301-als-1a2b3c4d"
DAG_RUN = f"commit__{COMMIT}"
STARTED = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class FakeTime:
    """A clock that goes forward by waiting alone, and does what was planned for a moment."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.plans: list[tuple[float, Callable[[], None]]] = []

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds
        due = [plan for plan in self.plans if plan[0] <= self.seconds]
        self.plans = [plan for plan in self.plans if plan[0] > self.seconds]
        for _, action in due:
            action()

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep)


def task(name: str, state: str | None, *, end: int = 0, attempt: int = 1) -> dict[str, Any]:
    """One task as Airflow tells it; ``end`` is when it ended, in seconds."""
    return {
        "task_id": name,
        "state": state,
        "map_index": -1,
        "try_number": attempt,
        "start_date": (STARTED + dt.timedelta(seconds=end)).isoformat() if state else None,
        "end_date": (STARTED + dt.timedelta(seconds=end + 1)).isoformat() if state in {"success", "failed"} else None,
        "duration": 1.0 if state in {"success", "failed"} else None,
    }


def decision(verdict: str, reason: str = "worse by 0.08") -> dict[str, Any]:
    """What the gate decided, as a task leaves it."""
    made = Decision(
        verdict=Verdict(verdict),
        run_id=RUN,
        against=None,
        no_baseline=True,
        release_id="r",
        generation=3,
        decided_at=STARTED,
        policy_name="p",
        policy_sha256="0" * 64,
        code_version="1",
        results=(CheckResult(check="ndcg", kind="absolute", verdict=Verdict(verdict), reason=reason),),
        summary=reason,
    )
    return made.model_dump(mode="json")


def reject(airflow: Server, reason: str = "worse by 0.08") -> None:
    """Let the gate say no to the next DAG run."""
    airflow.states = ["failed"]
    airflow.tasks = [[task("quality_gate", "failed", end=1), task("close_release", "success", end=2)]]
    airflow.left = {
        ("quality_gate", "rejection"): decision("fail", reason),
        ("close_release", "return_value"): {"release_id": "r", "phase": "rejected"},
    }


def released(mode: str = "primary", generation: int = 4) -> dict[tuple[str, str], Any]:
    """What the tasks of a released run left."""
    return {
        ("model_reload", "return_value"): {"run_id": RUN, "mode": mode, "generation": generation},
        ("close_release", "return_value"): {"release_id": "r", "phase": "verified"},
    }


DONE = [task("model_reload", "success", end=1), task("close_release", "success", end=2)]


@dataclass
class Scene:
    """Everything that the command talks to."""

    airflow: Server = field(default_factory=lambda: Server(tasks=[DONE], left=released()))
    time: FakeTime = field(default_factory=FakeTime)
    replicas: dict[str, FakeReplica] = field(default_factory=dict)
    token: str | None = "reload-token-77aa"
    answers_with: str = RUN
    reloads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = MemoryRegistry()
        self.desire(RUN, 4)
        for name in ("replica-1", "replica-2"):
            self.replicas[name] = FakeReplica(self.registry, url=f"http://{name}:8000", workers=2)
            self.replicas[name].look()

    def desire(self, run_id: str, generation: int) -> None:
        current = Current(run_id=run_id, release_id="r", since=NOW, generation=generation)
        self.registry.update(lambda _: Registry(generation=generation, current=current))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "airflow":
            return self.airflow(request)
        replica = self.replicas[request.url.host]
        if replica.down:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path == "/models":
            return httpx.Response(200, json=json.loads(replica.models().model_dump_json()))
        if request.url.path == "/models/reload":
            return self._reload(request, replica)
        answer = {"run_id": self.answers_with, "variant": "current", "items": ["a"], "known": False}
        return httpx.Response(200, json=answer)

    def _reload(self, request: httpx.Request, replica: FakeReplica) -> httpx.Response:
        self.reloads.append(request.url.host)
        assert json.loads(request.content) == {}  # nothing that could bring an older run back
        if request.headers.get("Authorization") != "Bearer reload-token-77aa":
            return httpx.Response(401, json={"title": "Unauthorized", "status": 401})
        replica.look()
        receipt = {
            "status": "serving",
            "changed": True,
            "mode": "primary",
            "run_id": RUN,
            "generation": 4,
            "workers": 2,
        }
        return httpx.Response(200, json=receipt)

    def run(self, *arguments: str, **env: str) -> int:
        """Run the command."""
        known = {
            "AIRFLOW_BASE_URL": "http://airflow:8080",
            "AIRFLOW_USERNAME": "ci",
            "AIRFLOW_PASSWORD": PASSWORD,
            "AIRFLOW_TIMEOUT": "600",
            "AIRFLOW_PATIENCE": "60",
            "AIRFLOW_DAG_ID": DAG,
            "MODEL_RELOAD_URL": "http://replica-1:8000 http://replica-2:8000",
            "MODEL_RELOAD_TOKEN": self.token or "",
            "GITHUB_SHA": COMMIT,
        }
        transport = httpx.MockTransport(self)
        return main(arguments, env={**known, **env}, clock=self.time.clock, transport=transport)
