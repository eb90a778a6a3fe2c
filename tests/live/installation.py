"""What a maintainer does with the running system, and what they can see of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from model_release.adapters.decisions import read_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.contract import ModelsReport
from model_release.identifiers import release_id_for
from model_release.ledger import LedgerEntry, of_release
from model_release.paths import ReleasePaths
from model_release.verdict import Decision
from scripts.local_stack import LocalStack
from tests.fakes_wecom import FakeWeCom
from tests.live.shop import LAST_DAY, write_log

PIPELINE = "recommendation_pipeline"
ROLLBACK = "recommendation_rollback"
RUN_SECONDS = 180.0
AS_OF = ("2026-01-18", "2026-01-25", "2026-02-01", "2026-02-08", "2026-02-15")


class Ended:
    """A DAG run that came to its end."""

    def __init__(self, installation: Installation, dag_id: str, dag_run_id: str, state: str) -> None:
        self.installation = installation
        self.dag_id = dag_id
        self.dag_run_id = dag_run_id
        self.state = state
        base = f"/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances"
        found = installation.rest.get(base).raise_for_status().json()["task_instances"]
        self.tasks: dict[str, str] = {task["task_id"]: task["state"] for task in found}
        self.release_id = release_id_for(dag_id, dag_run_id)

    @property
    def entries(self) -> list[LedgerEntry]:
        return of_release(FileLedger(self.installation.paths).read(), self.release_id)

    @property
    def events(self) -> list[str]:
        return [entry.event.value for entry in self.entries]

    @property
    def decision(self) -> Decision | None:
        return read_decision(self.installation.paths, self.release_id)

    def result(self, task_id: str) -> Any:
        """Return what a task returned."""
        url = f"/dags/{self.dag_id}/dagRuns/{self.dag_run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.installation.rest.get(url).raise_for_status().json()["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value


class Installation:
    """Airflow, the API and the files they share."""

    def __init__(self, stack: LocalStack, rest: httpx.Client, robot: FakeWeCom) -> None:
        self.stack = stack
        self.rest = rest
        self.robot = robot
        self.paths = ReleasePaths(stack.home)
        self._runs = 0

    def sell_on(self) -> None:
        """Let the weeks pass: the log now reaches its last day."""
        write_log(self.paths.root / "shop", LAST_DAY)

    def unpause(self, dag_id: str) -> None:
        self.rest.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def run(self, dag_id: str = PIPELINE, **conf: Any) -> Ended:
        """Trigger by REST, as the UI's button does, and wait for the end."""
        return self.ended(dag_id, self.trigger(dag_id, conf))

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        self._runs += 1
        body = {"dag_run_id": f"test_{self._runs}", "logical_date": None, "conf": dict(conf)}
        answer = self.rest.post(f"/dags/{dag_id}/dagRuns", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["dag_run_id"])

    def ended(self, dag_id: str, dag_run_id: str) -> Ended:
        state = ""

        def finished() -> bool:
            nonlocal state
            state = self.rest.get(f"/dags/{dag_id}/dagRuns/{dag_run_id}").raise_for_status().json()["state"]
            return state in {"success", "failed"}

        self.wait_until(f"{dag_id} {dag_run_id} ends", finished)
        return Ended(self, dag_id, dag_run_id, state)

    def told(self, ended: Ended) -> str:
        """Wait for the robot's message about a release; return it, the only one."""

        def texts() -> list[str]:
            return [text for text in self.robot.texts if f"`{ended.release_id}`" in text]

        self.wait_until(f"the robot tells of {ended.release_id}", lambda: bool(texts()), 60)
        (text,) = texts()
        return text

    def wait_until(self, what: str, holds: Callable[[], bool], seconds: float = RUN_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                log = self.stack.services["airflow"].tail(40) if "airflow" in self.stack.services else ""
                raise AssertionError(f"not in {seconds:g} s: {what}\n{log}")
            time.sleep(0.3)

    @contextmanager
    def fault(self, task: str, when: str, how: str = "fail") -> Iterator[None]:
        """Make ``task`` fail or be killed ``before`` or ``after`` its work, in the runs meanwhile."""
        file = self.paths.root / "fault.json"
        file.write_text(json.dumps({"task": task, "when": when, "how": how}))
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def models(self) -> ModelsReport:
        with RecommendationApiClient(self.stack.api_url) as api:
            return api.models()

    def answers(self, users: int = 12) -> dict[str, tuple[str | None, tuple[str, ...]]]:
        """Return the run and the list that each of some users gets."""
        with RecommendationApiClient(self.stack.api_url) as api:
            got = {f"u{number}": api.recommend(f"u{number}", 10) for number in range(users)}
        return {user: (answer.run_id, answer.items) for user, answer in got.items()}

    def lists(self) -> dict[str, tuple[str, ...]]:
        return {user: items for user, (_, items) in self.answers().items()}

    @property
    def current(self) -> str | None:
        registry = FileRegistry(self.paths).read()
        return registry.current.run_id if registry.current else None

    @property
    def generation(self) -> int:
        return FileRegistry(self.paths).read().generation
